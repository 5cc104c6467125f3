import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What the rows of a turn keep, regrouped by stretches of keys, for all heads.
///
/// Unchecked: every task has stretches of its own.
final class KeptStretches: @unchecked Sendable {
  private let layout: StretchLayout
  private let arena: Arena
  private let scratch: PerWorker<Scratch>

  private struct ScratchLayout {
    var arena = ArenaLayout()
    /// `[chunkRows]` each.
    let cursors: ArenaPart<Int32>
    let found: ArenaPart<Int32>

    init(_ layout: StretchLayout) {
      cursors = arena.add(layout.chunkRows)
      found = arena.add(layout.chunkRows)
    }
  }

  private final class Scratch {
    let arena: Arena

    init(_ layout: ScratchLayout) throws(AttentionError) { arena = try Arena(layout.arena) }
  }

  private let scratchParts: ScratchLayout

  static func bytes(_ layout: StretchLayout, threads: Int) -> Int {
    layout.shared.bytes + threads * ScratchLayout(layout).arena.bytes
  }

  init(_ layout: StretchLayout, threads: Int) throws(AttentionError) {
    self.layout = layout
    let scratchParts = ScratchLayout(layout)
    self.scratchParts = scratchParts
    arena = try Arena(layout.shared, for: "selected keys")
    scratch = try PerWorker(threads) { () throws(AttentionError) -> Scratch in
      try Scratch(scratchParts)
    }
  }

  /// How many tasks regrouping is.
  var tasks: Int { layout.problem.shape.batch * layout.chunks * StretchLayout.parts }

  /// Regroups a part of what the rows of a chunk keep.
  ///
  /// - Parameter lists: `[b][turnRows]`.
  func regroup(
    _ task: Int, _ turn: Range<Int>, _ operands: AttentionOperands, _ lists: KeptLists, worker: Int
  ) {
    let (place, part) = task.quotientAndRemainder(dividingBy: StretchLayout.parts)
    let (batch, chunk) = place.quotientAndRemainder(dividingBy: layout.chunks)
    let geometry = layout.problem.geometry(batch: batch, in: operands)
    let rows = layout.rows(chunk, of: turn, geometry)
    let all = layout.stretches(rows, geometry)
    let stretches = all * part / StretchLayout.parts..<all * (part + 1) / StretchLayout.parts
    if stretches.isEmpty || !StretchLayout.regroups(geometry) { return }
    let first = batch * layout.turnRows + rows.lowerBound - turn.lowerBound
    let (cursors, found) = (
      scratch[worker].arena[scratchParts.cursors], scratch[worker].arena[scratchParts.found]
    )
    var nextPlace = layout.firstPlace(batch, chunk, part: part)
    for row in 0..<rows.count {
      let met = lists.place(of: stretches.lowerBound * layout.stretchKeys, in: first + row)
      cursors[row] = Int32(met)
      nextPlace += met
    }
    var kept = lists.lists(first..<first + rows.count, cursors: cursors, found: found)
    for stretch in stretches {
      let index = layout.index(batch, chunk, stretch)
      let start = stretch * layout.stretchKeys
      var pairs: Int64 = 0
      arena[layout.visitCounts][index] = layout.kernels.functions.pointee.find_visits(
        &kept, Int32(start), Int32(start + layout.stretchKeys),
        arena[layout.visits] + index * layout.chunkRows, arena[layout.places] + nextPlace, &pairs)
      arena[layout.firstPlaces][index] = nextPlace
      nextPlace += Int(pairs)
    }
  }

  /// Who keeps what of a stretch.
  func visits(
    _ batch: Int, _ chunk: Int, _ stretch: Int
  ) -> (visits: UnsafeBufferPointer<attn_visit>, places: UnsafePointer<UInt8>) {
    let index = layout.index(batch, chunk, stretch)
    return (
      UnsafeBufferPointer(
        start: arena[layout.visits] + index * layout.chunkRows,
        count: Int(arena[layout.visitCounts][index])),
      UnsafePointer(arena[layout.places] + arena[layout.firstPlaces][index])
    )
  }
}
