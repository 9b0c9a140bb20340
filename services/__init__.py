"""The composition root: builds every part and hands them to each other."""
