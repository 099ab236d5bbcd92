"""Many disposable instances on this machine: clones that stand ready, and a server whose requests get one each."""
