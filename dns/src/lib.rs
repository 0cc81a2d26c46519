//! lictor-dns
