import Attention
import MachineTopology
import MessagePassing

/// `ring`: in step s rank r works on the keys of rank r - s, which sends them itself.
///
/// The schedule is the ring's: in every step each rank sends to one and receives from one. Blocks come from
/// their owner instead of being handed on, which moves as many bytes, needs no memory for what is handed on,
/// and lets no rank wait for another's neighbour.
final class RingRun: SchemeRun {
  private let context: SchemeContext
  private let pieces: QueryPieces
  private var streamBytes = 0

  /// Bytes of a block of keys and values: some milliseconds of work each, and small beside a shard.
  static let blockBytes = 4 << 20

  init(_ context: SchemeContext) throws(AttentionError) {
    self.context = context
    pieces = try context.pieces()
  }

  var workspaceBytes: Int { pieces.workspaceBytes + streamBytes }

  func run(_ tensors: ShardTensors) throws -> RunCounts {
    let shape = context.shape
    pieces.begin()
    var stream = try stream(tensors)
    streamBytes = stream.workspaceBytes
    try stream.pump()
    let own = context.keys.segments(context.rank)
    for batch in 0..<shape.batch {
      for kvHead in 0..<shape.kvHeads {
        try pieces.attend(
          tensors, batch: batch, kvHead: kvHead, keys: own,
          key: tensors.key.headRows(batch, kvHead), value: tensors.value.headRows(batch, kvHead)
        ) { try stream.pump() }
      }
    }
    while let (block, key, value) = try stream.next() {
      try pieces.attend(
        tensors, batch: block.batch, kvHead: block.kvHead, keys: block.keys, key: key, value: value
      ) { try stream.pump() }
      stream.release()
    }
    try stream.finish()
    pieces.end(tensors)
    return RunCounts(
      waitSeconds: stream.counts.waitSeconds, blocks: stream.counts.blocks,
      blocksReady: stream.counts.ready)
  }

  /// What is sent and received, in the order of steps, sequences, blocks and heads.
  private func stream(_ tensors: ShardTensors) throws(AttentionError) -> BlockStream {
    let (shape, rank, ranks) = (context.shape, context.rank, context.ranks)
    var outgoing: [BlockStream.Outgoing] = []
    var incoming: [BlockStream.Incoming] = []
    var longest = 1
    for step in 1..<max(ranks, 1) {
      let (to, from) = ((rank + step) % ranks, (rank - step + ranks) % ranks)
      for batch in 0..<shape.batch {
        for part in blocks(of: rank) {
          for kvHead in 0..<shape.kvHeads {
            outgoing.append(
              BlockStream.Outgoing(
                peer: to, key: tensors.key.headRows(batch, kvHead).rows(part),
                value: tensors.value.headRows(batch, kvHead).rows(part)))
          }
        }
        for part in blocks(of: from) {
          longest = max(longest, part.count)
          let keys = context.keys.segments(from).part(part)
          for kvHead in 0..<shape.kvHeads {
            incoming.append(
              BlockStream.Incoming(peer: from, batch: batch, kvHead: kvHead, keys: keys))
          }
        }
      }
    }
    return try BlockStream(
      context.communicator, link: context.link, outgoing: outgoing, incoming: incoming,
      rows: longest, columns: (shape.headDim, shape.valueDim))
  }

  /// A rank's key rows, cut into blocks.
  private func blocks(of rank: Int) -> [Range<Int>] {
    let rows = context.keys.count(rank)
    let most = max(Self.blockBytes / (4 * (context.shape.headDim + context.shape.valueDim)), 1)
    let count = (rows + most - 1) / most
    return (0..<count).map { rows * $0 / count..<rows * ($0 + 1) / count }
  }
}

extension [Segment] {
  /// Some of the rows at hand, numbered anew.
  func part(_ places: Range<Int>) -> [Segment] {
    [Segment](
      of: map { segment in
        let own = (segment.start..<segment.start + segment.rows.count).clamped(to: places)
        return own.lowerBound - segment.shift..<own.upperBound - segment.shift
      })
  }
}
