//! What the events of one call make of its record.

use std::time::Duration;

use toolbooth_core::{Event, EventKind, LayerName, Name, Outcome, ToolError, start_of};

use super::bounds::{MAX_IDLE, MAX_MARKS, MAX_PHASES, MIN_CONTENT, MIN_IDLE};
use super::text::{self, MAX_CONTENTS, MAX_NAME, Text, Texts};
use crate::record::{CallRecord, Mark, MarkKind, Phase, PhaseKind};

/// The record of a call, and what is needed to continue it.
///
/// An open phase is one without an end. An attempt has at most one open phase of each kind.
#[derive(Clone)]
pub(super) struct Entry {
    record: CallRecord,
    /// The version before its first event.
    pub(super) arrival: u64,
    /// The version at the end of the call; `None` while it runs.
    pub(super) ended: Option<u64>,
    /// How many passes through an events layer have not ended.
    passes: u32,
    /// When the tool last showed activity.
    active_at: Option<Duration>,
    /// The attempt that completed; 0 until then.
    completed_by: u32,
    /// How many bytes of contents may still be kept.
    room: usize,
    /// How many cleanup hooks have not ended.
    hooks: usize,
}

// === impl Entry ===

impl Entry {
    /// Creates the record of a call, to which the event that invokes it is applied next.
    pub(super) fn new(event: &Event, at: Duration, arrival: u64) -> Self {
        let name = |name: &Option<Name>| name.as_ref().map_or(Name::from_static(""), text::name);
        Self {
            record: CallRecord {
                number: event.serial,
                id: name(&event.call_id),
                tool: name(&event.tool),
                tenant: None,
                parent: None,
                start: at,
                end: None,
                outcome: None,
                error_type: None,
                error: None,
                retry_after: None,
                deadline: None,
                attempts: 0,
                items: 0,
                bytes: 0,
                first_item: None,
                contents: Vec::new(),
                contents_left_out: false,
                phases: Vec::new(),
                marks: Vec::new(),
                left_out: 0,
                version: 0,
            },
            arrival,
            ended: None,
            passes: 0,
            active_at: None,
            completed_by: 0,
            room: MAX_CONTENTS,
            hooks: 0,
        }
    }

    pub(super) const fn version(&self) -> u64 {
        self.record.version
    }

    pub(super) const fn start(&self) -> Duration {
        self.record.start
    }

    pub(super) fn to_record(&self) -> CallRecord {
        let mut record = self.record.clone();
        // An events layer inside sees the end of an attempt, not that of the call.
        if record.end.is_none() {
            record.outcome = None;
            record.error_type = None;
            record.error = None;
            record.retry_after = None;
        }
        record
    }

    pub(super) fn apply(&mut self, event: &Event, texts: Texts, at: Duration, version: u64) {
        let attempt = event.attempt;
        self.record.version = version;
        match &event.kind {
            EventKind::Invoked {
                tenant,
                parent_serial,
                deadline,
                ..
            } => {
                let left = deadline.map(|end| end.saturating_duration_since(event.at));
                self.invoked(at, attempt, left);
                self.record.tenant = tenant.as_ref().map(text::name);
                self.record.parent = *parent_serial;
            }
            // A call that is dropped does not wait for the thread that runs its tool.
            kind if self.record.end.is_some() && !kind.name().starts_with("cleanup.") => {}
            EventKind::Queued { layer } => self.queued(at, attempt, layer),
            EventKind::Admitted { layer, waited } => self.admitted(at, attempt, layer, *waited),
            EventKind::Started => self.started(at, attempt),
            EventKind::FirstItem => {
                self.record.first_item.get_or_insert(at);
            }
            EventKind::Partial { bytes, .. } => {
                self.active(at, attempt);
                self.record.items += 1;
                self.record.bytes = self.record.bytes.saturating_add(*bytes as u64);
                self.keep(texts.contents);
            }
            EventKind::Progress(_) | EventKind::Heartbeat => self.active(at, attempt),
            EventKind::Retry { attempt, after, .. } => {
                self.retry(at, *attempt, *after, &event.kind);
            }
            EventKind::Expired { layer, limit } => self.expired(at, attempt, layer, *limit),
            EventKind::CleanupStarted { hooks } if *hooks > 0 => {
                self.hooks = self.hooks.saturating_add(*hooks);
                self.open(PhaseKind::Cleanup, None, attempt, at);
            }
            EventKind::CleanupFinished { .. } | EventKind::CleanupFailed { .. } => {
                self.hooks_ended(at, 1);
            }
            EventKind::CleanupAbandoned { hooks } => self.hooks_ended(at, *hooks),
            kind => {
                if let Some(outcome) = kind.outcome() {
                    self.ended(at, attempt, outcome, kind, texts);
                }
            }
        }
    }

    fn invoked(&mut self, at: Duration, attempt: u32, left: Option<Duration>) {
        // The attempt before has ended: the retry is outside of the events layer.
        if let Some(end) = self.record.end.take() {
            self.mark(
                end,
                MarkKind::Retry {
                    attempt,
                    after: None,
                    why: self.record.error_type.clone(),
                },
            );
            self.add(PhaseKind::Backoff, None, attempt, end, Some(at));
            self.record.outcome = None;
            self.record.error_type = None;
            self.record.error = None;
            self.record.retry_after = None;
            self.completed_by = 0;
            self.ended = None;
        }
        self.leave_backoff(at, attempt);
        self.passes += 1;
        if let Some(left) = left {
            self.record.deadline = Some(at.saturating_add(left));
        }
    }

    fn queued(&mut self, at: Duration, attempt: u32, layer: &LayerName) {
        self.leave_backoff(at, attempt);
        self.close(PhaseKind::Queue, attempt, at);
        self.open(PhaseKind::Queue, Some(layer), attempt, at);
    }

    fn admitted(&mut self, at: Duration, attempt: u32, layer: &LayerName, waited: Duration) {
        if !self.close(PhaseKind::Queue, attempt, at) && !waited.is_zero() {
            let start = at.saturating_sub(waited);
            self.add(PhaseKind::Queue, Some(layer), attempt, start, Some(at));
        }
    }

    fn started(&mut self, at: Duration, attempt: u32) {
        self.leave_backoff(at, attempt);
        self.close(PhaseKind::Queue, attempt, at);
        self.open(PhaseKind::Run, None, attempt, at);
        self.active_at = None;
    }

    /// Ends the wait before this attempt.
    fn leave_backoff(&mut self, at: Duration, attempt: u32) {
        self.close(PhaseKind::Backoff, attempt, at);
        self.record.attempts = self.record.attempts.max(attempt);
    }

    /// Records that the tool shows activity.
    fn active(&mut self, at: Duration, attempt: u32) {
        self.idle_until(at, attempt);
        self.active_at = Some(at);
    }

    /// Records the time since the last activity, if it is long.
    fn idle_until(&mut self, at: Duration, attempt: u32) {
        let Some(since) = self.active_at else { return };
        if at.saturating_sub(since) < MIN_IDLE {
            return;
        }
        let phases = self.record.phases.iter();
        let idle = phases.filter(|phase| phase.kind == PhaseKind::Idle);
        match idle.count() {
            MAX_IDLE.. => self.record.left_out += 1,
            _ => self.add(PhaseKind::Idle, None, attempt, since, Some(at)),
        }
    }

    fn retry(&mut self, at: Duration, next: u32, after: Duration, retry: &EventKind) {
        let failed = next.saturating_sub(1);
        self.idle_until(at, failed);
        self.active_at = None;
        // An attempt that is rejected before any layer reports it has no phase of its own.
        self.leave_backoff(at, failed);
        self.close(PhaseKind::Queue, failed, at);
        self.close(PhaseKind::Run, failed, at);
        let after = Some(after);
        self.mark(
            at,
            MarkKind::Retry {
                attempt: next,
                after,
                why: text::why(retry),
            },
        );
        self.open(PhaseKind::Backoff, None, next, at);
    }

    /// Starts the grace of a limit that expired.
    fn expired(&mut self, at: Duration, attempt: u32, layer: &LayerName, limit: Duration) {
        self.idle_until(at, attempt);
        self.active_at = None;
        self.close(PhaseKind::Queue, attempt, at);
        self.close(PhaseKind::Run, attempt, at);
        let name = Some(layer_name(layer));
        self.mark(at, MarkKind::Expired { layer: name, limit });
        self.open(PhaseKind::Grace, Some(layer), attempt, at);
    }

    fn hooks_ended(&mut self, at: Duration, hooks: usize) {
        self.hooks = self.hooks.saturating_sub(hooks);
        if self.hooks == 0 {
            self.close_all(at, |kind| kind == PhaseKind::Cleanup);
        }
    }

    fn ended(
        &mut self,
        at: Duration,
        attempt: u32,
        outcome: Outcome,
        kind: &EventKind,
        texts: Texts,
    ) {
        self.idle_until(at, attempt);
        self.leave_backoff(at, attempt);
        self.close(PhaseKind::Queue, attempt, at);
        self.close(PhaseKind::Run, attempt, at);
        // The limit that expired before the grace has its mark.
        if !self.close(PhaseKind::Grace, attempt, at) {
            self.mark_end(at, kind);
        }
        self.passes = self.passes.saturating_sub(1);
        if self.passes == 0 {
            self.close_all(at, |kind| kind != PhaseKind::Cleanup);
            self.record.end = Some(at);
            self.ended = Some(self.record.version);
        }
        // Of parallel attempts, those that are dropped end after the one that completed. Otherwise
        // the outermost events layer ends last.
        let is_late = outcome == Outcome::Cancelled && attempt != self.completed_by;
        if self.record.outcome == Some(Outcome::Completed) && is_late {
            return;
        }
        if outcome == Outcome::Completed {
            self.completed_by = attempt;
        }
        self.record.outcome = Some(outcome);
        self.record.error_type = kind
            .error_type()
            .map(|kind| start_of(kind, MAX_NAME).into());
        self.record.retry_after = kind.error().and_then(ToolError::retry_after);
        self.record.error = texts.error.map(|error| error.text);
        if self.record.items == 0 {
            self.record.contents.clear();
            self.room = MAX_CONTENTS;
            self.keep(texts.contents);
        }
    }

    /// Marks why a call ended early, once if several events layers report it.
    fn mark_end(&mut self, at: Duration, kind: &EventKind) {
        let kind = match kind {
            EventKind::TimedOut { layer, limit, .. } => MarkKind::Expired {
                layer: layer.as_ref().map(layer_name),
                limit: *limit,
            },
            EventKind::Cancelled { reason, .. } => MarkKind::Cancelled { reason: *reason },
            _ => return,
        };
        let is_same = |mark: &Mark| {
            mark.at == at && std::mem::discriminant(&mark.kind) == std::mem::discriminant(&kind)
        };
        match self.record.marks.last_mut().filter(|mark| is_same(mark)) {
            // The layer outside reports more of a limit.
            Some(mark) => mark.kind = kind,
            None => self.mark(at, kind),
        }
    }

    fn mark(&mut self, at: Duration, kind: MarkKind) {
        match self.record.marks.len() {
            MAX_MARKS.. => self.record.left_out += 1,
            _ => self.record.marks.push(Mark { kind, at }),
        }
    }

    /// Opens a phase, unless one of its kind is open.
    fn open(&mut self, kind: PhaseKind, layer: Option<&LayerName>, attempt: u32, start: Duration) {
        if self.find_open(kind, attempt).is_none() {
            self.add(kind, layer, attempt, start, None);
        }
    }

    fn add(
        &mut self,
        kind: PhaseKind,
        layer: Option<&LayerName>,
        attempt: u32,
        start: Duration,
        end: Option<Duration>,
    ) {
        if self.record.phases.len() >= MAX_PHASES {
            self.record.left_out += 1;
            return;
        }
        self.record.phases.push(Phase {
            kind,
            layer: layer.map(layer_name),
            attempt,
            start,
            end,
        });
    }

    /// Ends the open phase of this kind. Returns whether there was one.
    fn close(&mut self, kind: PhaseKind, attempt: u32, end: Duration) -> bool {
        let open = self.find_open(kind, attempt);
        let is_open = open.is_some();
        if let Some(phase) = open {
            phase.end = Some(end);
        }
        is_open
    }

    fn find_open(&mut self, kind: PhaseKind, attempt: u32) -> Option<&mut Phase> {
        let mut phases = self.record.phases.iter_mut().rev();
        phases.find(|phase| phase.end.is_none() && phase.kind == kind && phase.attempt == attempt)
    }

    fn close_all(&mut self, end: Duration, is_over: impl Fn(PhaseKind) -> bool) {
        for phase in &mut self.record.phases {
            if is_over(phase.kind) {
                phase.end.get_or_insert(end);
            }
        }
    }

    /// Keeps contents while there is room.
    fn keep(&mut self, contents: Vec<Text>) {
        for Text { mut text, is_cut } in contents {
            let fits = start_of(&text, self.room).len();
            self.record.contents_left_out |= is_cut || fits < text.len();
            // An empty text takes memory, too.
            self.room = self.room.saturating_sub(fits.max(MIN_CONTENT));
            if fits > 0 {
                text.truncate(fits);
                text.shrink_to_fit();
                self.record.contents.push(text);
            }
        }
    }
}

fn layer_name(layer: &LayerName) -> Name {
    start_of(layer.as_str(), MAX_NAME).into()
}
