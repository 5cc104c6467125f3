import Attention
import MachineTopology
import MessagePassing

/// `allgather`: all keys and values on all ranks, then one pass.
final class GatherRun: SchemeRun {
  private let context: SchemeContext
  private let pieces: QueryPieces
  private let key: Tensor
  private let value: Tensor

  init(_ context: SchemeContext) throws(AttentionError) {
    self.context = context
    pieces = try context.pieces()
    key = try Tensor(context.shape.key)
    value = try Tensor(context.shape.value)
  }

  var workspaceBytes: Int { pieces.workspaceBytes + 4 * (key.shape.count + value.shape.count) }

  func run(_ tensors: ShardTensors) throws -> RunCounts {
    let shape = context.shape
    var exchange = context.exchange()
    for (own, all) in [(tensors.key, key), (tensors.value, value)] {
      for batch in 0..<shape.batch {
        for kvHead in 0..<shape.kvHeads {
          let (source, target) = (own.headRows(batch, kvHead), all.headRows(batch, kvHead))
          for peer in context.otherRanks {
            for segment in context.keys.segments(peer) {
              try exchange.receive(target.rows(segment.rows).bytes, from: peer)
            }
          }
          for segment in context.keys.segments(context.rank) {
            let rows = source.rows(segment.start..<segment.start + segment.rows.count)
            for peer in context.otherRanks { try exchange.send(rows.bytes, to: peer) }
            target.rows(segment.rows).bytes.copyMemory(from: UnsafeRawBufferPointer(rows.bytes))
          }
        }
      }
    }
    let waited = try exchange.finish("gathering keys and values")
    pieces.begin()
    let everything = [Segment(rows: 0..<shape.keyLength, start: 0)]
    for batch in 0..<shape.batch {
      for kvHead in 0..<shape.kvHeads {
        try pieces.attend(
          tensors, batch: batch, kvHead: kvHead, keys: everything,
          key: key.headRows(batch, kvHead), value: value.headRows(batch, kvHead)
        ) { try context.communicator.movesOn("computing") }
      }
    }
    pieces.end(tensors)
    return RunCounts(waitSeconds: waited)
  }
}
