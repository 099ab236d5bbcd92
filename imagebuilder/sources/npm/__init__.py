"""Projects of npm: their lock, the registry, tarballs of packages. Nothing of theirs is run."""
