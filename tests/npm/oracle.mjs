// Answers for the tests, from implementations that share no code with ours. One JSON value on stdout.
//
//   node oracle.mjs files FILE...   the CID of each file by the profile unixfs-v1-2025
//   node oracle.mjs shape CHUNK LINKS FILE   the same of one file, but with chunks of CHUNK bytes and nodes of LINKS links
//   node oracle.mjs folder DIR      the CID of DIR with the files in it, one level deep, by the same profile
//   node oracle.mjs read FILE.car   version, roots and blocks of a CAR file, or the error it gives
//   node oracle.mjs write FILE.car  writes a CAR of the blocks that stdin names, as [[codec, hex], ...]; prints its CIDs
import { createReadStream, createWriteStream, readdirSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { text } from 'node:stream/consumers'
import { CarBlockIterator, CarWriter } from '@ipld/car'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const nowhere = { async put (cid) { return cid } }
const [command, ...paths] = process.argv.slice(2)

async function add (entries, options = {}) {
  const roots = {}
  for await (const entry of importer(entries, nowhere, { profile: 'unixfs-v1-2025', ...options })) {
    roots[entry.path ?? ''] = entry.cid.toString()
  }
  return roots
}

async function files () {
  const cids = []
  for (const path of paths) {
    const roots = await add([{ path: 'file', content: createReadStream(path, { highWaterMark: 1 << 20 }) }])
    cids.push(roots.file)
  }
  return cids
}

async function shape () {
  const [chunkSize, maxChildrenPerNode] = paths.map(Number)
  const content = createReadStream(paths[2])
  const options = { chunker: fixedSize({ chunkSize }), layout: balanced({ maxChildrenPerNode }) }
  return (await add([{ path: 'file', content }], options)).file
}

async function folder () {
  const entries = readdirSync(paths[0]).map(name => ({ path: name, content: createReadStream(`${paths[0]}/${name}`) }))
  return (await add(entries, { wrapWithDirectory: true }))['']
}

async function read () {
  try {
    const iterator = await CarBlockIterator.fromIterable(createReadStream(paths[0]))
    const blocks = []
    for await (const { cid, bytes } of iterator) blocks.push([cid.toString(), bytes.length])
    return { version: iterator.version, roots: (await iterator.getRoots()).map(String), blocks }
  } catch (error) {
    return { error: error.message }
  }
}

async function write () {
  const blocks = []
  for (const [codec, hex] of JSON.parse(await text(process.stdin))) {
    const bytes = Buffer.from(hex, 'hex')
    blocks.push({ cid: CID.createV1(codec, await sha256.digest(bytes)), bytes })
  }
  const { writer, out } = CarWriter.create([blocks[0].cid])
  const done = pipeline(Readable.from(out), createWriteStream(paths[0]))
  for (const block of blocks) await writer.put(block)
  await writer.close()
  await done
  return blocks.map(block => block.cid.toString())
}

console.log(JSON.stringify(await { files, shape, folder, read, write }[command]()))
