"""Page about a network's memory of a film, shot by shot, which needs no other file."""
