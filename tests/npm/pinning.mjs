// A pinning service from npm on a free port of loopback, which it prints. Usage: node pinning.mjs TOKEN
import http from 'node:http'
import mock from 'mock-ipfs-pinning-service'

const service = await mock.setup({ token: process.argv[2], loglevel: 'none' })
const server = http.createServer(service)
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`))
