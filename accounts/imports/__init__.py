"""Members from a file: what a file may be (`columns`, `rules`), how it waits to be started (`waiting`), and the job (`job`)."""
