package report

// Small has l do little at a time, so that small tests see folds of many commits.
func (l *Ledger) Small() *Ledger {
	l.most = limits{waiting: 50, outcomes: 2, marks: 3, devices: 3}
	return l
}
