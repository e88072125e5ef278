//! The program `toolbooth`: limits around any MCP server or command, from one file.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

pub mod booth;
pub mod cli;
mod commands;
pub mod config;
pub mod guard;
pub mod serve;
