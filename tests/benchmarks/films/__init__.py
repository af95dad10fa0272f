"""Tests of `benchmarks/films`; none but the slow one needs the network."""
