//! The binary `oribi`: command line, configuration, start and stop order, administration.

mod api;
mod audit;
mod auth;
mod catalog_store;
mod cli;
mod commands;
mod config;
mod demo;
mod front;
mod length;
mod listen;
mod node_args;
mod page;
mod posture;
mod serve;
mod serve_demo;
mod telemetry;
mod tls;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
