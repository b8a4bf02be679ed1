// cluster: the echo on Node, in as many processes as it is told.
"use strict";

const cluster = require("cluster");
const net = require("net");

const [port, workers] = process.argv.slice(2).map(Number);

if (cluster.isPrimary) {
	for (let i = 0; i < workers; i++)
		cluster.fork();
} else {
	const options = { noDelay: true };
	const server = net.createServer(options, (client) => {
		client.on("data", (bytes) => client.write(bytes));
		client.on("error", () => client.destroy());
	});
	server.listen({ host: "127.0.0.1", port, backlog: 4096 });
}
