"""What measures quality, speed and memory beside peers; run as scripts, never by the package."""
