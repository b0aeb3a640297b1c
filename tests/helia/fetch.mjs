// Fetches an ipfs:// URL as an application in JavaScript does, from one gateway, and prints what came as one JSON object.
//
//   node fetch.mjs gateway URL ipfs://CID/path    the gateway is told
//   node fetch.mjs routing URL ipfs://CID/path    the gateway is found by asking URL who has the content
//
// Everything is on loopback: no libp2p, no public routers or gateways.
import { createHash } from 'node:crypto'
import { createHeliaLight } from 'helia'
import { trustlessGatewayBlockBroker } from '@helia/trustless-gateway-client'
import { delegatedHTTPRouter } from '@helia/delegated-routing-client'
import { fallbackRouter } from '@helia/fallback-router'
import { createVerifiedFetchWithHelia } from '@helia/verified-fetch'

const [how, url, wanted] = process.argv.slice(2)
// Helia 7.1 waits for ever when no router but a fallback is there.
const nobody = { name: 'nobody', async * findProviders () {} }
const routers = how === 'gateway' ? [nobody, fallbackRouter({ gateways: [url] })] : [delegatedHTTPRouter({ url })]
const helia = await createHeliaLight({
  blockBrokers: [trustlessGatewayBlockBroker({ allowInsecure: true, allowLocal: true })],
  routers
}).start()
const fetch = await createVerifiedFetchWithHelia(helia)
const answer = await fetch(wanted, { session: how === 'routing', signal: AbortSignal.timeout(20_000) })
const body = Buffer.from(await answer.arrayBuffer())
console.log(JSON.stringify({
  status: answer.status,
  type: answer.headers.get('content-type'),
  bytes: body.length,
  sha256: createHash('sha256').update(body).digest('hex')
}))
process.exit(0)
