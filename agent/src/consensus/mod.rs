//! One replicated log behind a sans-IO seam.
