// Answers GET /hello/NAME with a greeting, and POST /sum, numbers between spaces, with their sum.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
)

func hello(answer http.ResponseWriter, request *http.Request) {
	fmt.Fprintf(answer, "hello, %s\n", strings.TrimPrefix(request.URL.Path, "/hello/"))
}

func sum(answer http.ResponseWriter, request *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(answer, request.Body, 65_536))
	total := 0.0
	for _, word := range strings.Fields(string(text)) {
		var number float64
		if err == nil {
			number, err = strconv.ParseFloat(word, 64)
		}
		total += number
	}
	if err != nil {
		http.Error(answer, "expected numbers", http.StatusBadRequest)
		return
	}
	fmt.Fprintln(answer, total)
}

func main() {
	http.HandleFunc("/hello/", hello)
	http.HandleFunc("/sum", sum)
	log.Fatal(http.ListenAndServe("0.0.0.0:8000", nil))
}
