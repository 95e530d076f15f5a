"""`report.html`: one file that explains a study, from its results and a few more simulations; it opens without a network."""
