//! Consensus groups of several nodes in one thread that a seed decides: replicas, logs and tablets
//! are the real ones, over disks, a network, time and chance of the simulation.

mod changes;
mod clients;
mod hall;
mod host;
mod judge;
mod readers;
mod scene;
mod tests;
mod world;
