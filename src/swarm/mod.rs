//! The decisions of one torrent: whom to dial, what to ask for, whom to serve.
