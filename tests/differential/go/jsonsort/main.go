// Sorts the objects of a JSON list by a key: from a file or stdin to stdout.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"sort"
)

func main() {
	key, in := os.Args[1], io.Reader(os.Stdin)
	if len(os.Args) > 2 {
		file, err := os.Open(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		in = file
	}
	var items []map[string]any
	if err := json.NewDecoder(in).Decode(&items); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	runtime.GC()
	sort.SliceStable(items, func(i, j int) bool { return fmt.Sprint(items[i][key]) < fmt.Sprint(items[j][key]) })
	out, _ := json.MarshalIndent(items, "", " ")
	fmt.Println(string(out))
}
