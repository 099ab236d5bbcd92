"""What people and machines read of reports, made from the documents alone: nothing boots here."""
