"""PostgreSQL's frontend/backend protocol 3 (its documentation's chapter of that name), and its grammar."""
