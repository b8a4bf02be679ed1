// Gonet is the echo with Go's net package: a goroutine for each connection.
// With workers it is told on how many threads Go may run at a time.
package main

import (
	"log"
	"net"
	"os"
	"runtime"
	"strconv"
)

// echo has the buffer that io.Copy would make.
func echo(client net.Conn) {
	defer client.Close()
	buffer := make([]byte, 32*1024)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if _, err = client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func main() {
	workers, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	runtime.GOMAXPROCS(workers)
	listener, err := net.Listen("tcp4", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go echo(client)
	}
}
