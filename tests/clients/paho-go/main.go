package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Publishes each line of standard input with QoS 1 and says what came of it, a line each:
// connected, lost, refused REASON, acked LINE, failed LINE REASON.
func main() {
	url, authority, password, topic := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	options := mqtt.NewClientOptions().AddBroker(url).SetClientID("paho-go").SetUsername("u").SetPassword(password)
	if authority != "" {
		pem, err := os.ReadFile(authority)
		if err != nil {
			panic(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		options.SetTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost"})
	}
	options.SetCleanSession(false).SetAutoReconnect(true).SetMaxReconnectInterval(time.Second)
	options.SetOnConnectHandler(func(mqtt.Client) { fmt.Println("connected") })
	options.SetConnectionLostHandler(func(mqtt.Client, error) { fmt.Println("lost") })
	client := mqtt.NewClient(options)
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		fmt.Println("refused", token.Error())
		os.Exit(1)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := lines.Text()
		token := client.Publish(topic, 1, false, line)
		if token.WaitTimeout(time.Minute) && token.Error() == nil {
			fmt.Println("acked", line)
		} else {
			fmt.Println("failed", line, token.Error())
		}
	}
	client.Disconnect(1000)
}
