// A program in Go that calls the module. Go's memory is its own, so the module works in a slice that it is given.
package main

import (
	"fmt"
	"os"
	"unsafe"
)

type measured struct{ words, letters, longest uint32 }

//go:wasmimport greet shout
func shout(text unsafe.Pointer, size uint32)

//go:wasmimport greet measure
func measure(text unsafe.Pointer, size uint32, into unsafe.Pointer)

//go:wasmimport greet _room
func room() uint32

//go:wasmimport greet _place
func place(at unsafe.Pointer)

// Kept here, so that it is never freed.
var greetRoom []byte

func main() {
	greetRoom = make([]byte, room())
	place(unsafe.Pointer(&greetRoom[0]))
	for _, argument := range os.Args[1:] {
		text := []byte(argument)
		found := new(measured)
		measure(unsafe.Pointer(&text[0]), uint32(len(text)), unsafe.Pointer(found))
		shout(unsafe.Pointer(&text[0]), uint32(len(text)))
		fmt.Println(string(text), found.words, found.letters, found.longest)
	}
}
