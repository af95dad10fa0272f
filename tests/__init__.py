"""Tests; see `synthetic_film` for the films that most of them look at."""
