"""What other systems send: the declared shape of a row, and the way from bytes to rows or to sentences of refusal."""
