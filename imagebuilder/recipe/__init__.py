"""The recipe: what the user writes, as a frozen, typed value. ``lookup`` finds it, ``load`` reads it, and
``model`` says what it may hold. Nothing is imported here: names alone do not have to wait for the model."""
