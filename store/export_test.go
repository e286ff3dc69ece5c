package store

// Exec runs any statement; see exec.
func (tx *Tx) Exec(query string, args ...any) (int64, error) { return tx.exec(query, args...) }

// Count runs a query that gives a number.
func (tx *Tx) Count(query string, args ...any) (n int64, err error) {
	return n, tx.queryRow(query, args...).Scan(&n)
}
