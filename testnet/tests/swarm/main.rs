//! Several clients with one torrent each, by addresses alone: what their machines decide together.
#![allow(clippy::disallowed_methods, reason = "a world begins at some instant")]

mod connections;
mod hostile;
mod magnets;
mod refusals;
mod serving;
mod sources;
mod swarm_world;
mod transfer;
