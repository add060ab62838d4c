"""The grammar: one conversation written in three languages, and what each does with a liar."""
