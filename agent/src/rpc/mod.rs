//! What servers and agents say to each other.
