"""How fast an instance answers, beside what people would write by hand."""
