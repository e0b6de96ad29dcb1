"""When, not only what: scores along a video, and the segments that they make."""
