"""Videos without a host: frames by number, tar shards, generated motion videos. Pure: imports nothing of ``mm*``."""
