"""From a folder of videos to a recogniser of one's own: looked at, encoded once, trained, reported on."""
