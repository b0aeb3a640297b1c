// Greets whom its arguments name, and ends as they ask.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Println("hello")
		return
	}
	switch os.Args[1] {
	case "panic":
		panic("was asked to panic")
	case "exit":
		os.Exit(len(os.Args))
	case "goroutines":
		sums := make(chan int)
		for part := 0; part < 10; part++ {
			go func(part int) { sums <- part * part }(part)
		}
		total := 0
		for part := 0; part < 10; part++ {
			total += <-sums
		}
		fmt.Println("total", total)
	default:
		fmt.Println("hello,", strings.ToUpper(strings.Join(os.Args[1:], " and ")), os.Getenv("MARK"))
	}
}
