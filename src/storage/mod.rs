//! Files, positions and hashes: blocking I/O on the disk workers.
