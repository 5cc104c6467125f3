import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Sizes of a recurrence for one problem, worked out without allocating.
package struct RecurrentLayout: Sendable {
  let problem: AttentionProblem
  let recurrence: RecurrenceShape
  let operands: [OperandDeclaration]
  /// m, rows of the state.
  let stateRows: Int
  /// m or d, whichever is more, rounded up to whole vectors: from one row of a chunk to the next.
  let rowStride: Int
  /// Tokens of a chunk.
  let chunk: Int
  /// Tokens of a block of a chunk, where a decay is a channel's: between tokens of different blocks, what is
  /// kept is a product of what both sides keep up to the border of the later one's block.
  static let blockTokens = Int(ATTN_DECAYED_TOKENS)
  /// From one row of a chunk's square matrices to the next.
  let squareStride: Int
  /// Value columns are cut into panels of as many vectors each, so that the kernels' tiles are full: as few
  /// as leave the fewest vectors empty.
  let panels: Int
  let panelVectors: Int
  /// Lanes of a panel.
  let width: Int
  /// Pieces that the panels of a head are dealt in.
  let pieces: Int
  let vectorLanes: Int
  /// Rows of a chunk that are scored together: whole tiles, and at least as many as a vector has lanes.
  let scoredRows: Int
  private let threads: Int

  init(
    _ problem: AttentionProblem, _ recurrence: RecurrenceShape, operands: [OperandDeclaration],
    threads: Int, kernels: KernelTable
  ) {
    let shape = problem.shape
    let lanes = kernels.vectorLanes
    self.problem = problem
    self.recurrence = recurrence
    self.operands = operands.withoutState
    self.threads = threads
    stateRows = recurrence.features ?? shape.headDim
    rowStride = (max(stateRows, shape.headDim) + lanes - 1) / lanes * lanes
    chunk = 48
    vectorLanes = lanes
    scoredRows = (lanes + kernels.tileKeys - 1) / kernels.tileKeys * kernels.tileKeys
    let panelLanes = kernels.panelLanes
    squareStride = (chunk + panelLanes - 1) / panelLanes * panelLanes
    let vectors = (shape.valueDim + lanes - 1) / lanes
    let most = min(vectors, panelLanes / lanes)
    // One vector a panel would leave multiply-adds waiting for each other.
    let sizes = (min(2, most)...most).reversed()
    panelVectors = sizes.min { (vectors + $0 - 1) / $0 * $0 < (vectors + $1 - 1) / $1 * $1 } ?? most
    panels = (vectors + panelVectors - 1) / panelVectors
    width = panelVectors * lanes
    pieces = RecurrentLayout.pieces(
      heads: shape.batch * shape.kvHeads, panels: panels, threads: threads)
  }

  /// The name of the operand that is a state to begin with.
  package static let stateName = "state"

  /// As few pieces a head as give every worker as much: what does not depend on the value columns is
  /// done again for each.
  private static func pieces(heads: Int, panels: Int, threads: Int) -> Int {
    if heads >= 4 * threads { return 1 }
    return (1...panels).first { heads * $0 % threads == 0 } ?? panels
  }

  /// Blocks of a chunk.
  var blocks: Int { (chunk + RecurrentLayout.blockTokens - 1) / RecurrentLayout.blockTokens }

  /// Stretches of rows that are looked ahead to: keys, values, gates, queries and outputs of a group, with
  /// room for some of a paged tensor.
  var stretchesAhead: Int { 16 + operands.count + 2 * problem.shape.groupSize }

  /// The panels of a piece.
  func panels(of piece: Int) -> Range<Int> {
    panels * piece / pieces..<panels * (piece + 1) / pieces
  }

  /// Vectors that hold `count` lanes.
  func vectors(_ count: Int) -> Int { (count + vectorLanes - 1) / vectorLanes }

  /// From one row of values or outputs to the next.
  var valueStride: Int { panels * width }

  /// Value columns of neighbouring panels.
  func columns(of panels: Range<Int>) -> Range<Int> {
    panels.lowerBound * width..<min(panels.upperBound * width, problem.shape.valueDim)
  }

  /// Value columns of a panel.
  func columns(of panel: Int) -> Int { min(width, problem.shape.valueDim - panel * width) }

  /// The shape of a state as callers see it; nil where the sum of the keys belongs to it.
  var stateShape: TensorShape? {
    let shape = problem.shape
    return recurrence.normalises
      ? nil : TensorShape(unchecked: shape.batch, shape.kvHeads, stateRows, shape.valueDim)
  }

  /// Floats of a head's state, `[panels][m][width]`, and of the sums of its keys behind it with what their
  /// roundings have lost: each piece has its own, as who works on one does not wait for others.
  var stateCount: Int { panels * stateRows * width + 2 * pieces * rowStride }
  /// Where the sum of the keys lies in a state; what was lost of it is one `rowStride` behind.
  func keySum(_ piece: Int) -> Int { panels * stateRows * width + 2 * piece * rowStride }
  /// What a piece works on of a state: its panels, and its sum of the keys.
  func parts(of piece: Int) -> [Range<Int>] {
    let panels = panels(of: piece)
    let size = stateRows * width
    return [
      panels.lowerBound * size..<panels.upperBound * size,
      keySum(piece)..<keySum(piece) + 2 * rowStride,
    ]
  }
  var headCount: Int { problem.shape.batch * problem.shape.kvHeads }
}

extension RecurrentLayout {
  /// Tokens and query rows of a chunk, in the order of positions: `queries` stand at the chunk's first
  /// tokens.
  struct Chunk {
    let tokens: Range<Int>
    let queries: Range<Int>
  }

  /// What the query rows of a sequence see, as the engine walks along it.
  struct Walk {
    let geometry: MaskGeometry
    /// Tokens that are taken in.
    let tokens: Range<Int>
    /// Rows that see no token, and rows that see all that are taken in, after them.
    let blind: Range<Int>
    let after: Range<Int>
    private let chunk: Int

    /// - Parameter keepsState: whether tokens that no query sees are taken in, too.
    init(_ geometry: MaskGeometry, chunk: Int, keepsState: Bool) {
      self.geometry = geometry
      self.chunk = chunk
      let rows = geometry.queryLength
      let last = rows == 0 ? 0 : geometry.visible(from: rows - 1 + geometry.offset).upperBound
      tokens = 0..<(keepsState ? geometry.keyLength : last)
      if geometry.keyLength == 0 {
        (blind, after) = (0..<rows, rows..<rows)
      } else if geometry.causal {
        let first = min(max(-geometry.offset, 0), rows)
        blind = 0..<first
        after = min(max(geometry.keyLength - geometry.offset, first), rows)..<rows
      } else {
        (blind, after) = (0..<0, 0..<rows)
      }
    }

    /// Whether one query sees the only token, its own.
    var isStep: Bool {
      geometry.causal && geometry.queryLength == 1 && geometry.keyLength == 1 && blind.isEmpty
        && after.isEmpty
    }

    /// The chunk that begins at a token. None reaches beyond the token of the first query row, so that
    /// rows of queries and tokens of a chunk begin together.
    func chunk(from first: Int) -> Chunk {
      var end = min(first + chunk, tokens.upperBound)
      guard geometry.causal else { return Chunk(tokens: first..<end, queries: 0..<0) }
      if first < geometry.offset { end = min(end, geometry.offset) }
      let queries = (first - geometry.offset..<end - geometry.offset)
        .clamped(to: blind.upperBound..<after.lowerBound)
      return Chunk(tokens: first..<end, queries: queries)
    }
  }

  func walk(batch: Int, keepsState: Bool) -> Walk {
    Walk(problem.geometry(batch: batch), chunk: chunk, keepsState: keepsState)
  }

  /// Pairs are those within chunks. Of a token: 2 m dV operations to be taken into the state, as many to
  /// erase; of a query row 2 m dV to read it; of a pair 2 (m + dV), and as many where tokens erase.
  var work: WorkEstimate {
    let shape = problem.shape
    var (pairs, erasing, tokens, rows) = (0, 0, 0, 0)
    for batch in 0..<shape.batch {
      let walk = walk(batch: batch, keepsState: false)
      tokens += walk.tokens.count
      rows += walk.geometry.queryLength - walk.blind.count
      // Chunks begin anew at the first query's token.
      let before =
        walk.geometry.causal
        ? min(max(walk.geometry.offset, 0), walk.tokens.count) : 0
      erasing += pairsOfChunks(before) + pairsOfChunks(walk.tokens.count - before)
      if walk.geometry.causal {
        let queries = walk.after.lowerBound - walk.blind.upperBound
        pairs += pairsOfChunks(queries) + queries
      }
    }
    pairs *= shape.heads
    let each = 2 * (stateRows + shape.valueDim)
    let state = 2 * stateRows * shape.valueDim
    var flops = state * (tokens * shape.kvHeads + rows * shape.heads) + each * pairs
    if recurrence.erases { flops += shape.kvHeads * (state * tokens + each * erasing) }
    if recurrence.normalises {
      flops += 2 * stateRows * (tokens * shape.kvHeads + rows * shape.heads)
    }
    return WorkEstimate(
      pairs: pairs, flops: flops, minimumBytes: problem.minimumBytes, workspaceBytes: workspaceBytes
    )
  }

  /// Work of a step of the problem's tokens, its queries standing at them: that of a short sequence, and
  /// the state read and written.
  var stepWork: WorkEstimate {
    var work = work
    if problem.shape.queryLength == 1 {
      // A token alone is not scored: its query reads the state that has it already.
      work.flops -= 2 * (stateRows + problem.shape.valueDim) * work.pairs
      work.pairs = 0
    }
    let stateBytes = 4 * headCount * stateRows * problem.shape.valueDim
    work.minimumBytes += 2 * stateBytes
    work.stateBytes = stateBytes
    work.workspaceBytes += 4 * headCount * stateCount
    return work
  }

  /// Pairs of different tokens of one chunk, of `count` tokens in chunks.
  private func pairsOfChunks(_ count: Int) -> Int {
    let (whole, rest) = count.quotientAndRemainder(dividingBy: chunk)
    return whole * (chunk * (chunk - 1) / 2) + rest * (rest - 1) / 2
  }

  var workspaceBytes: Int { threads * RecurrentScratch.Layout(self).arena.bytes }
}

extension [OperandDeclaration] {
  /// Those that a rule gets row by row: all but a state to begin with.
  var withoutState: [OperandDeclaration] { filter { $0.name != RecurrentLayout.stateName } }
}
