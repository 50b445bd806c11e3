"""One plain function per thing that happens. Each takes a `Tx` and the time, and is one savepoint."""
