use std::fmt;

/// The scenarios of one report.
pub(crate) struct Table {
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    scenario: &'static str,
    recorded: &'static str,
    found: String,
    expected: &'static str,
}

// === impl Table ===

impl Table {
    pub(crate) const fn new(title: &'static str) -> Self {
        Self {
            title,
            rows: Vec::new(),
        }
    }

    /// Adds what toolbooth did in a scenario. It passes if it is what is expected, literally.
    pub(crate) fn row(
        &mut self,
        scenario: &'static str,
        recorded: &'static str,
        found: String,
        expected: &'static str,
    ) {
        self.rows.push(Row {
            scenario,
            recorded,
            found,
            expected,
        });
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn passed(&self) -> usize {
        self.rows.iter().filter(|row| row.passes()).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["scenario", "the report recorded", "toolbooth", "pass"];
        let cells = |row: &Row| {
            let pass = if row.passes() { "yes" } else { "NO" };
            [row.scenario, row.recorded, &row.found, pass].map(str::to_owned)
        };
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.rows.iter().map(cells));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max();
        let [a, b, c] = [0, 1, 2].map(|column| width(column).unwrap_or_default());
        writeln!(f, "{}\n", self.title)?;
        for [scenario, recorded, found, pass] in &rows {
            writeln!(f, "{scenario:a$}  {recorded:b$}  {found:c$}  {pass}")?;
        }
        for row in self.rows.iter().filter(|row| !row.passes()) {
            writeln!(f, "{}: expected {}", row.scenario, row.expected)?;
        }
        Ok(())
    }
}

// === impl Row ===

impl Row {
    fn passes(&self) -> bool {
        self.found == self.expected
    }
}
