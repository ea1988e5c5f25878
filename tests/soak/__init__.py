"""Long runs; `make soak` has them at full length, `make test` a short form of some."""
