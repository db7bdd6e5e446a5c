package signing

// DuplicateRows lists the names that stand in two files of rows, or among rows and code.
func DuplicateRows() (names []string) {
	seen := map[string]bool{}
	for _, rows := range append(rowFiles(), coded) {
		for name := range rows {
			if seen[name] {
				names = append(names, name)
			}
			seen[name] = true
		}
	}
	return names
}
