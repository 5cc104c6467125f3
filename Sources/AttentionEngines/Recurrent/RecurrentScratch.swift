import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// One worker's memory for a recurrence, and what it does with a chunk of a head.
///
/// Within a chunk, with S the state before it, kept(t) what is kept of the state up to token t and
/// kept(s, t) what is kept of token s at token t, all elements at most 1 so that nothing overflows:
///
///     A[t][s] = erase_t . kept(s, t) key_s,  s < t     U = value - (kept erase) S - A U
///     P[t][s] = query_t . kept(s, t) key_s, s <= t     O = (kept query) S + P U
///     S = kept S + (kept to the end key)^T U
///
/// U by forward substitution. The factors are products of the tokens' own, never quotients: a decay that
/// resets the state is as exact as any other.
package final class RecurrentScratch {
  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    /// `[panels][m][width]`, then sums of the keys, `[pieces][rowStride]`.
    fileprivate let state: ArenaPart<Float>
    /// `[chunk][rowStride]` each: keys, what they erase along, and queries of a head.
    fileprivate let keys: ArenaPart<Float>
    fileprivate let erases: ArenaPart<Float>
    fileprivate let queries: ArenaPart<Float>
    /// `[chunk][rowStride]`, of which the first column counts where a factor is for all rows: the decay
    /// of each token, and what is kept from the chunk's begin to it and from it to the chunk's end.
    fileprivate let decays: ArenaPart<Float>
    fileprivate let kept: ArenaPart<Float>
    fileprivate let keptToEnd: ArenaPart<Float>
    /// `[rowStride]` what is kept over the whole chunk.
    fileprivate let keptOver: ArenaPart<Float>
    /// `[chunk][squareStride]` each: what is kept from one token to another where a factor is for all
    /// rows; A with the other sign; P.
    fileprivate let between: ArenaPart<Float>
    fileprivate let erasing: ArenaPart<Float>
    fileprivate let scores: ArenaPart<Float>
    /// `[panels of keys][m][panelLanes]`; where a decay is a channel's, for each block of a chunk but the
    /// first the keys before it, as far as they are kept up to it.
    fileprivate let transposed: ArenaPart<Float>
    /// Where a decay is a channel's: `[chunk][rowStride]` what is kept from a block's begin to a token,
    /// and keys as far as they are kept up to the block in work; `[block][rowStride]` rows of a block.
    fileprivate let keptInBlock: ArenaPart<Float>
    fileprivate let keptKeys: ArenaPart<Float>
    fileprivate let blockRows: ArenaPart<Float>
    /// `[chunk]` vectors.
    fileprivate let partial: ArenaPart<Float>
    /// `[chunk][valueStride]` each: values, of which U is made; O; and what tokens' own outputs have
    /// besides.
    fileprivate let written: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let additions: ArenaPart<Float>
    /// `[chunk]`.
    fileprivate let denominators: ArenaPart<Float>
    fileprivate let rows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutableRawPointer>
    /// Rows of the operands of a head's first token and of the first in work, and floats from one
    /// token's to the next's.
    fileprivate let gateBases: ArenaPart<UnsafePointer<Float>?>
    fileprivate let gates: ArenaPart<UnsafePointer<Float>?>
    fileprivate let gateStrides: ArenaPart<Int>

    init(_ layout: RecurrentLayout) {
      let chunk = layout.chunk
      let rows = chunk * layout.rowStride
      let square = chunk * layout.squareStride
      let recurrence = layout.recurrence
      state = arena.add(layout.stateCount)
      keys = arena.add(rows)
      erases = arena.add(recurrence.erases ? rows : layout.rowStride)
      queries = arena.add(max(rows, layout.problem.shape.groupSize * layout.rowStride))
      let decays = recurrence.decay == .none ? layout.rowStride : rows
      self.decays = arena.add(decays)
      kept = arena.add(decays)
      keptToEnd = arena.add(decays)
      keptOver = arena.add(layout.rowStride)
      between = arena.add(recurrence.decay == .perHead ? square : 0)
      erasing = arena.add(recurrence.erases ? square : 0)
      scores = arena.add(square)
      let isPerChannel = recurrence.decay == .perChannel
      transposed = arena.add(
        layout.squareStride * layout.stateRows
          * (isPerChannel ? chunk / RecurrentLayout.blockTokens - 1 : 1))
      keptInBlock = arena.add(isPerChannel ? rows : 0)
      keptKeys = arena.add(isPerChannel ? rows : 0)
      blockRows = arena.add(
        isPerChannel ? RecurrentLayout.blockTokens * layout.rowStride : 0)
      partial = arena.add(chunk * layout.vectorLanes)
      written = arena.add(chunk * layout.valueStride)
      output = arena.add(max(chunk, layout.problem.shape.groupSize) * layout.valueStride)
      additions = arena.add((recurrence.adds ? chunk : 1) * layout.valueStride)
      denominators = arena.add(max(chunk, layout.problem.shape.groupSize))
      self.rows = arena.add(chunk)
      outputRows = arena.add(chunk)
      gateBases = arena.add(layout.operands.count)
      gates = arena.add(layout.operands.count)
      gateStrides = arena.add(layout.operands.count)
    }
  }

  private let layout: RecurrentLayout
  private let strategy: any RecurrentStrategy
  private let kernels: KernelTable
  private let functions: UnsafePointer<attn_kernels>
  private let lanes: Int
  private let arena: Arena
  /// The state of the head in work: this worker's own, or a decoder's.
  private var state: UnsafeMutablePointer<Float>
  private let ownState: UnsafeMutablePointer<Float>
  private let keys: UnsafeMutablePointer<Float>
  private let erases: UnsafeMutablePointer<Float>
  private let queries: UnsafeMutablePointer<Float>
  private let decays: UnsafeMutablePointer<Float>
  private let kept: UnsafeMutablePointer<Float>
  private let keptToEnd: UnsafeMutablePointer<Float>
  private let keptOver: UnsafeMutablePointer<Float>
  private let between: UnsafeMutablePointer<Float>
  private let erasing: UnsafeMutablePointer<Float>
  private let scores: UnsafeMutablePointer<Float>
  private let transposed: UnsafeMutablePointer<Float>
  private let keptInBlock: UnsafeMutablePointer<Float>
  private let keptKeys: UnsafeMutablePointer<Float>
  private let blockRows: UnsafeMutablePointer<Float>
  private let partial: UnsafeMutablePointer<Float>
  private let written: UnsafeMutablePointer<Float>
  private let output: UnsafeMutablePointer<Float>
  private let additions: UnsafeMutablePointer<Float>
  private let denominators: UnsafeMutablePointer<Float>
  private let rows: RowPointers
  private let outputRows: UnsafeMutablePointer<UnsafeMutableRawPointer>
  private let gateBases: UnsafeMutablePointer<UnsafePointer<Float>?>
  private let gates: UnsafeMutablePointer<UnsafePointer<Float>?>
  private let gateStrides: UnsafeMutablePointer<Int>

  /// - Parameter strategy: prepared for the layout's problem.
  init(
    _ layout: RecurrentLayout, _ strategy: any RecurrentStrategy, kernels: KernelTable
  ) throws(AttentionError) {
    let parts = Layout(layout)
    self.layout = layout
    self.strategy = strategy
    self.kernels = kernels
    functions = kernels.functions
    lanes = kernels.panelLanes
    arena = try Arena(parts.arena)
    ownState = arena[parts.state]
    state = ownState
    keys = arena[parts.keys]
    erases = arena[parts.erases]
    queries = arena[parts.queries]
    decays = arena[parts.decays]
    kept = arena[parts.kept]
    keptToEnd = arena[parts.keptToEnd]
    keptOver = arena[parts.keptOver]
    between = arena[parts.between]
    erasing = arena[parts.erasing]
    scores = arena[parts.scores]
    transposed = arena[parts.transposed]
    keptInBlock = arena[parts.keptInBlock]
    keptKeys = arena[parts.keptKeys]
    blockRows = arena[parts.blockRows]
    partial = arena[parts.partial]
    written = arena[parts.written]
    output = arena[parts.output]
    additions = arena[parts.additions]
    denominators = arena[parts.denominators]
    rows = arena[parts.rows]
    outputRows = arena[parts.outputRows]
    gateBases = arena[parts.gateBases]
    gates = arena[parts.gates]
    gateStrides = arena[parts.gateStrides]
    for column in 0..<layout.rowStride { keptOver[column] = 1 }
  }

  /// A head of a sequence, and the piece of its values in work.
  struct Head {
    let batch: Int
    let kvHead: Int
    let piece: Int
    let panels: Range<Int>

    init(_ batch: Int, _ kvHead: Int, piece: Int, _ layout: RecurrentLayout) {
      (self.batch, self.kvHead, self.piece) = (batch, kvHead, piece)
      panels = layout.panels(of: piece)
    }
  }

  /// `[m][width]` of the state.
  private func statePanel(_ panel: Int) -> UnsafeMutablePointer<Float> {
    state + panel * layout.stateRows * layout.width
  }

  private var shape: AttentionShape { layout.problem.shape }
  private var recurrence: RecurrenceShape { layout.recurrence }

  // MARK: Tokens

  /// Finds a head's rows of the operands, which are looked up by name: once for all its tokens.
  private func locateGates(_ operands: AttentionOperands, _ head: Head) {
    for (index, declaration) in layout.operands.enumerated() {
      let view = operands.inputs.named[declaration.name]
      gateBases[index] = view?.gate(head.batch, head.kvHead, 0)
      gateStrides[index] = view.map { $0.shape.rows == 1 ? 0 : $0.rowStride } ?? 0
    }
  }

  /// Reads tokens and has the strategy make of them what is written, erased and kept.
  ///
  /// - Parameter limit: tokens there are; those after them may not even have an address.
  private func load(
    _ tokens: Range<Int>, _ operands: AttentionOperands, _ head: Head, limit: Int
  ) {
    let stride = layout.rowStride
    widen(operands.key, head.batch, head.kvHead, tokens, into: keys, stride: stride)
    prefetch(operands.key, head.batch, head.kvHead, after: tokens, limit: limit)
    widen(
      operands.value, head.batch, head.kvHead, tokens, into: written, stride: layout.valueStride)
    prefetch(operands.value, head.batch, head.kvHead, after: tokens, limit: limit)
    for index in 0..<layout.operands.count {
      gates[index] = gateBases[index].map { $0 + tokens.lowerBound * gateStrides[index] }
    }
    mapFeatures(keys, tokens.count)
    strategy.take(
      RecurrentTokens(
        head: head.kvHead, count: tokens.count, keys: keys, values: written,
        additions: additions, erases: erases, decays: decays, keyStride: stride,
        valueStride: layout.valueStride, additionStride: recurrence.adds ? layout.valueStride : 0,
        eraseStride: recurrence.erases ? stride : 0,
        decayStride: recurrence.decay == .none ? 0 : stride, headDim: shape.headDim,
        valueDim: shape.valueDim, gates: gates, gateStrides: gateStrides, kernels: kernels))
    if recurrence.decay == .perChannel {
      clearPadding(decays, tokens.count, from: layout.stateRows)
    }
  }

  /// What lies behind a row's last number takes part in vector operations, and must not grow.
  private func clearPadding(_ rows: UnsafeMutablePointer<Float>, _ count: Int, from first: Int) {
    let stride = layout.rowStride
    if first == stride { return }
    for row in 0..<count {
      for column in first..<stride { rows[row * stride + column] = 0 }
    }
  }

  /// The features of keys or queries.
  private func mapFeatures(_ rows: UnsafeMutablePointer<Float>, _ count: Int) {
    clearPadding(rows, count, from: shape.headDim)
    strategy.mapFeatures(
      rows, count: count, stride: layout.rowStride, headDim: shape.headDim, kernels: kernels)
    clearPadding(rows, count, from: layout.stateRows)
  }

  /// Brings rows to fp32.
  private func widen(
    _ tensor: TensorView, _ batch: Int, _ head: Int, _ range: Range<Int>,
    into out: UnsafeMutablePointer<Float>, stride: Int
  ) {
    let columns = tensor.shape.columns
    for (index, row) in range.enumerated() { rows[index] = tensor.rowAddress(batch, head, row) }
    let storage = tensor.elementType.storage
    let scales = tensor.channelScales(batch, head)
    if columns == stride {
      functions.pointee.widen(rows, Int32(range.count), Int32(columns), storage, scales, out)
      return
    }
    for index in 0..<range.count {
      functions.pointee.widen(
        rows + index, 1, Int32(columns), storage, scales, out + index * stride)
    }
  }

  /// Prefetches as many rows as a range has, those after it, which are usually next.
  private func prefetch(
    _ tensor: TensorView, _ batch: Int, _ head: Int, after range: Range<Int>, limit: Int
  ) {
    let next = range.upperBound..<max(min(range.upperBound + range.count, limit), range.upperBound)
    for (index, row) in next.enumerated() { rows[index] = tensor.rowAddress(batch, head, row) }
    functions.pointee.prefetch(rows, Int32(next.count), tensor.rowBytes)
  }

  /// What is kept, of `count` tokens.
  private func decay(_ count: Int) {
    let stride = layout.rowStride
    switch recurrence.decay {
    case .none: return
    case .perHead:
      for t in 0..<count {
        // Exact to the last bit: products of thousands of them matter.
        let factor = Float.exp(decays[t * stride])
        decays[t * stride] = factor
        kept[t * stride] = t == 0 ? factor : kept[(t - 1) * stride] * factor
      }
      functions.pointee.kept_between(
        decays, Int64(stride), Int32(count), Int64(layout.squareStride), between)
      let last = between + (count - 1) * layout.squareStride
      for t in 0..<count { keptToEnd[t * stride] = last[t] }
      keptOver.update(repeating: kept[(count - 1) * stride], count: layout.stateRows)
    case .perChannel:
      functions.pointee.exp_row(decays, Int64(count * stride), decays)
      let multiply = functions.pointee.multiply
      for t in 0..<count {
        let row = t * stride
        if t % RecurrentLayout.blockTokens == 0 {
          (keptInBlock + row).update(from: decays + row, count: stride)
        } else {
          multiply(keptInBlock + row - stride, decays + row, 1, Int64(stride), keptInBlock + row)
        }
        let first = t / RecurrentLayout.blockTokens * RecurrentLayout.blockTokens
        if first == 0 {
          (kept + row).update(from: keptInBlock + row, count: stride)
        } else {
          multiply(
            keptInBlock + row, kept + (first - 1) * stride, 1, Int64(stride), kept + row)
        }
      }
      (keptToEnd + (count - 1) * stride).update(repeating: 1, count: stride)
      for t in Swift.stride(from: count - 2, through: 0, by: -1) {
        let next = (t + 1) * stride
        functions.pointee.multiply(
          keptToEnd + next, decays + next, 1, Int64(stride), keptToEnd + next - stride)
      }
      keptOver.update(from: kept + (count - 1) * stride, count: stride)
    }
  }

  /// rows = rows * factors * `factor`, token by token.
  private func scale(
    _ rows: UnsafeMutablePointer<Float>, by factors: UnsafePointer<Float>, _ factor: Float,
    count: Int
  ) {
    let stride = layout.rowStride
    switch recurrence.decay {
    case .none:
      if factor != 1 { functions.pointee.scale_row(rows, Int64(count * stride), factor) }
    case .perHead:
      for t in 0..<count {
        functions.pointee.scale_row(
          rows + t * stride, Int64(layout.stateRows), factors[t * stride] * factor)
      }
    case .perChannel:
      functions.pointee.multiply(rows, factors, factor, Int64(count * stride), rows)
    }
  }

  /// out[t][s] = factor rows_t . kept(s, t) key_s, for s up to t.
  private func products(
    _ rows: UnsafePointer<Float>, count: Int, factor: Float, into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square) = (layout.rowStride, layout.squareStride)
    if recurrence.decay == .perChannel {
      for first in Swift.stride(from: 0, to: count, by: RecurrentLayout.blockTokens) {
        decayedProducts(
          rows, first..<min(first + RecurrentLayout.blockTokens, count), into: out)
      }
      if factor != 1 { functions.pointee.scale_row(out, Int64(count * square), factor) }
      return
    }
    // Whole tiles of rows at a time, and the keys up to their last one.
    for first in Swift.stride(from: 0, to: count, by: layout.scoredRows) {
      let own = min(layout.scoredRows, count - first)
      for panel in Swift.stride(from: 0, to: first + own, by: lanes) {
        let vectors = layout.vectors(min(lanes, first + own - panel))
        functions.pointee.product(
          rows + first * stride, Int64(stride), Int32(own), Int32(layout.stateRows),
          transposed + panel * layout.stateRows, Int64(lanes), Int32(vectors), ATTN_RECTANGLE, 0,
          out + first * square + panel, Int64(square))
      }
    }
    if recurrence.decay == .perHead {
      functions.pointee.multiply(out, between, factor, Int64(count * square), out)
    } else if factor != 1 {
      functions.pointee.scale_row(out, Int64(count * square), factor)
    }
  }

  /// The rows of a block with a decay for each channel: with the keys of their own block one by one, with
  /// those before it by a product.
  private func decayedProducts(
    _ rows: UnsafePointer<Float>, _ block: Range<Int>, into out: UnsafeMutablePointer<Float>
  ) {
    let (stride, square, first) = (layout.rowStride, layout.squareStride, block.lowerBound)
    for t in block {
      functions.pointee.decayed_dots(
        rows + t * stride, keys + first * stride, decays + first * stride, Int64(stride),
        Int32(stride), Int32(t - first), partial, out + t * square + first)
    }
    if first == 0 { return }
    functions.pointee.multiply(
      rows + first * stride, keptInBlock + first * stride, 1, Int64(block.count * stride),
      blockRows)
    let before = transposed(before: first)
    for panel in Swift.stride(from: 0, to: first, by: lanes) {
      functions.pointee.product(
        blockRows, Int64(stride), Int32(block.count), Int32(layout.stateRows),
        before + panel * layout.stateRows, Int64(lanes),
        Int32(layout.vectors(min(lanes, first - panel))), ATTN_RECTANGLE, 0,
        out + first * square + panel, Int64(square))
    }
  }

  /// The transposed keys before a block that is not the first.
  private func transposed(before first: Int) -> UnsafeMutablePointer<Float> {
    transposed
      + (first / RecurrentLayout.blockTokens - 1) * layout.squareStride * layout.stateRows
  }

  /// Transposes the keys; where a decay is a channel's, those before each block, as far as they are kept
  /// up to it.
  private func transpose(_ count: Int) {
    guard recurrence.decay == .perChannel else {
      return transpose(keys, count, into: transposed)
    }
    let (stride, size) = (layout.rowStride, RecurrentLayout.blockTokens)
    let multiply = functions.pointee.multiply
    for first in Swift.stride(from: size, to: count, by: size) {
      // What the block before keeps of what came before it.
      let over = keptInBlock + (first - 1) * stride
      for s in 0..<first - size {
        multiply(keptKeys + s * stride, over, 1, Int64(stride), keptKeys + s * stride)
      }
      // What it keeps of its own keys. The rows to be are where that is worked out.
      let after = blockRows
      after.update(repeating: 1, count: stride)
      for s in (first - size..<first).reversed() {
        multiply(keys + s * stride, after, 1, Int64(stride), keptKeys + s * stride)
        multiply(decays + s * stride, after, 1, Int64(stride), after)
      }
      transpose(keptKeys, first, into: transposed(before: first))
    }
  }

  private func transpose(
    _ source: UnsafePointer<Float>, _ count: Int, into out: UnsafeMutablePointer<Float>
  ) {
    for first in Swift.stride(from: 0, to: count, by: lanes) {
      let live = min(lanes, count - first)
      for index in 0..<live {
        rows[index] = UnsafeRawPointer(source + (first + index) * layout.rowStride)
      }
      functions.pointee.pack(
        rows.floats, Int32(live), Int32(layout.stateRows), 1, out + first * layout.stateRows)
    }
  }

  /// What the tokens of a chunk write, less what they erase of it and of the state.
  private func erase(_ count: Int, _ head: Head) {
    if !recurrence.erases { return }
    let (stride, square) = (layout.rowStride, layout.squareStride)
    products(erases, count: count, factor: -1, into: erasing)
    scale(erases, by: kept, -1, count: count)
    let valueStride = Int64(layout.valueStride)
    for panel in head.panels {
      let out = written + panel * layout.width
      functions.pointee.product(
        erases, Int64(stride), Int32(count), Int32(layout.stateRows),
        statePanel(panel), Int64(layout.width),
        Int32(layout.panelVectors), ATTN_RECTANGLE, 1, out, valueStride)
      functions.pointee.product(
        erasing, Int64(square), Int32(count), 0, out, valueStride,
        Int32(layout.panelVectors), ATTN_SOLVE, 1, out, valueStride)
    }
  }

  /// Takes the tokens of a chunk into the state; the keys are used up.
  private func takeIn(_ count: Int, _ head: Head) {
    let stride = layout.rowStride
    if recurrence.normalises {
      functions.pointee.add_rows(
        keys, Int64(stride), Int32(count), Int32(stride), state + layout.keySum(head.piece))
    }
    scale(keys, by: keptToEnd, 1, count: count)
    for panel in head.panels {
      functions.pointee.take_in(
        keys, Int64(stride), written + panel * layout.width, Int64(layout.valueStride),
        Int32(count), Int32(layout.stateRows), Int32(layout.panelVectors),
        recurrence.decay == .none ? nil : keptOver,
        statePanel(panel))
    }
  }

  // MARK: Queries

  /// Reads the query rows of a head and takes their features.
  private func load(
    queries range: Range<Int>, of query: TensorView, _ batch: Int, _ head: Int
  ) {
    widen(query, batch, head, range, into: queries, stride: layout.rowStride)
    prefetch(query, batch, head, after: range, limit: query.shape.rows)
    mapFeatures(queries, range.count)
  }

  /// The factor of outputs that are not divided.
  private var factor: Float { recurrence.normalises ? 1 : layout.problem.scale }

  /// Outputs of query rows: those of a chunk stand at its first tokens and see what it has of them;
  /// others see the state alone.
  private func attend(
    _ range: Range<Int>, isInChunk: Bool, _ operands: AttentionOperands, _ head: Head
  ) {
    let group = shape.groupSize
    let count = range.count
    let (stride, square) = (layout.rowStride, layout.squareStride)
    for queryHead in head.kvHead * group..<(head.kvHead + 1) * group {
      load(queries: range, of: operands.query, head.batch, queryHead)
      if recurrence.normalises {
        functions.pointee.dot_rows(
          queries, Int64(stride), Int32(count), Int32(stride), state + layout.keySum(head.piece),
          denominators)
      }
      if isInChunk {
        products(queries, count: count, factor: factor, into: scores)
        scale(queries, by: kept, factor, count: count)
        if recurrence.normalises {
          functions.pointee.add_lower_sums(scores, Int64(square), Int32(count), denominators)
        }
      } else if factor != 1 {
        functions.pointee.scale_row(queries, Int64(count * stride), factor)
      }
      let valueStride = Int64(layout.valueStride)
      for panel in head.panels {
        let out = output + panel * layout.width
        functions.pointee.product(
          queries, Int64(stride), Int32(count), Int32(layout.stateRows),
          statePanel(panel), Int64(layout.width),
          Int32(layout.panelVectors), ATTN_RECTANGLE, 0, out, valueStride)
        if isInChunk {
          functions.pointee.product(
            scores, Int64(square), Int32(count), 0,
            written + panel * layout.width, valueStride,
            Int32(layout.panelVectors), ATTN_LOWER, 1, out, valueStride)
        }
      }
      if isInChunk { add(additions, count, head, to: output) }
      store(range, operands, head, queryHead: queryHead, output, denominators)
    }
  }

  /// What the tokens' own outputs have besides, of the columns in work.
  private func add(
    _ additions: UnsafePointer<Float>, _ count: Int, _ head: Head,
    to rows: UnsafeMutablePointer<Float>
  ) {
    if !recurrence.adds { return }
    let columns = layout.columns(of: head.panels)
    for row in 0..<count {
      let place = row * layout.valueStride
      for column in columns { rows[place + column] += additions[place + column] }
    }
  }

  /// Divides where there are denominators, and stores the columns in work of a query head's rows, and
  /// their LSE.
  ///
  /// - Parameters:
  ///   - source: `[range][valueStride]`.
  ///   - denominators: one a row.
  private func store(
    _ range: Range<Int>, _ operands: AttentionOperands, _ head: Head, queryHead: Int,
    _ source: UnsafeMutablePointer<Float>, _ denominators: UnsafePointer<Float>
  ) {
    let type = operands.output.reading.elementType
    let columns = layout.columns(of: head.panels)
    for (index, row) in range.enumerated() {
      let place = source + index * layout.valueStride + columns.lowerBound
      if recurrence.normalises {
        functions.pointee.scale_row(
          place, Int64(columns.count),
          1 / (denominators[index] + Float(RecurrenceShape.epsilon)))
      }
      rows[index] = UnsafeRawPointer(place)
      outputRows[index] =
        operands.output.rowAddress(head.batch, queryHead, row)
        + columns.lowerBound * type.byteCount
    }
    functions.pointee.narrow(
      rows.floats, Int32(range.count), Int32(columns.count), type.storage, outputRows)
    // One piece of a head is enough to say it.
    guard head.panels.lowerBound == 0, let lse = operands.logSumExp else { return }
    for (index, row) in range.enumerated() {
      lse.row(head.batch, queryHead, row)[0] =
        recurrence.normalises ? Float.log(denominators[index]) : 0
    }
  }

  /// Zeros for rows that see no token.
  private func storeNothing(_ range: Range<Int>, _ operands: AttentionOperands, _ head: Head) {
    let type = operands.output.reading.elementType
    for queryHead in head.kvHead * shape.groupSize..<(head.kvHead + 1) * shape.groupSize {
      for row in range {
        for panel in head.panels {
          (operands.output.rowAddress(head.batch, queryHead, row)
            + panel * layout.width * type.byteCount)
            .initializeMemory(
              as: UInt8.self, repeating: 0, count: layout.columns(of: panel) * type.byteCount)
        }
        if head.panels.lowerBound == 0 {
          operands.logSumExp?.row(head.batch, queryHead, row)[0] = -.infinity
        }
      }
    }
  }

  // MARK: Sequences

  /// Takes the state of a head to begin with, where there is one, as this worker's own.
  func begin(_ head: Head, from operands: AttentionOperands) {
    state = ownState
    guard let given = operands.inputs.named[RecurrentLayout.stateName] else {
      return state.update(repeating: 0, count: layout.stateCount)
    }
    // A state that is given has no sum of the keys.
    for panel in head.panels {
      let place = statePanel(panel)
      copyState(
        panel, from: { given.row(head.batch, head.kvHead, $0) + panel * layout.width },
        to: { place + $0 * layout.width })
    }
  }

  /// Stores the state that a head has come to.
  func end(_ head: Head, in view: MutableTensorView) {
    for panel in head.panels {
      let place = statePanel(panel)
      copyState(
        panel, from: { UnsafePointer(place + $0 * layout.width) },
        to: { view.row(head.batch, head.kvHead, $0) + panel * layout.width })
    }
  }

  /// Copies the rows of a panel of the state.
  private func copyState(
    _ panel: Int, from source: (Int) -> UnsafePointer<Float>,
    to target: (Int) -> UnsafeMutablePointer<Float>
  ) {
    for first in Swift.stride(from: 0, to: layout.stateRows, by: layout.chunk) {
      let count = min(layout.chunk, layout.stateRows - first)
      for index in 0..<count {
        rows[index] = UnsafeRawPointer(source(first + index))
        outputRows[index] = UnsafeMutableRawPointer(target(first + index))
      }
      functions.pointee.narrow(
        rows.floats, Int32(count), Int32(layout.columns(of: panel)),
        ElementType.float32.storage, outputRows)
    }
  }

  /// A head of a sequence from a decoder's state on, which is changed.
  func run(
    _ walk: RecurrentLayout.Walk, _ operands: AttentionOperands, _ head: Head,
    state: UnsafeMutablePointer<Float>
  ) {
    self.state = state
    run(walk, operands, head)
  }

  /// A head of a sequence from the state on that it has.
  func run(_ walk: RecurrentLayout.Walk, _ operands: AttentionOperands, _ head: Head) {
    if walk.isStep { return step(operands, head) }
    storeNothing(walk.blind, operands, head)
    locateGates(operands, head)
    var first = 0
    while first < walk.tokens.upperBound {
      let chunk = walk.chunk(from: first)
      let count = chunk.tokens.count
      load(chunk.tokens, operands, head, limit: walk.tokens.upperBound)
      decay(count)
      transpose(count)
      erase(count, head)
      if !chunk.queries.isEmpty { attend(chunk.queries, isInChunk: true, operands, head) }
      takeIn(count, head)
      first = chunk.tokens.upperBound
    }
    for first in Swift.stride(
      from: walk.after.lowerBound, to: walk.after.upperBound, by: layout.chunk)
    {
      attend(
        first..<min(first + layout.chunk, walk.after.upperBound), isInChunk: false, operands, head)
    }
  }

  /// One token, which every query head of it sees, from a decoder's state on, which is changed.
  func step(
    _ operands: AttentionOperands, _ head: Head, state: UnsafeMutablePointer<Float>
  ) {
    self.state = state
    step(operands, head)
  }

  /// One token, which every query head of it sees, from the state on that it has.
  private func step(_ operands: AttentionOperands, _ head: Head) {
    let stride = layout.rowStride
    let group = shape.groupSize
    locateGates(operands, head)
    load(0..<1, operands, head, limit: 1)
    switch recurrence.decay {
    case .none: break
    case .perHead:
      keptOver.update(repeating: Float.exp(decays[0]), count: layout.stateRows)
    case .perChannel: functions.pointee.exp_row(decays, Int64(stride), keptOver)
    }
    for member in 0..<group {
      let query = queries + member * stride
      widen(
        operands.query, head.batch, head.kvHead * group + member, 0..<1, into: query,
        stride: stride)
    }
    mapFeatures(queries, group)
    if recurrence.normalises {
      let sum = state + layout.keySum(head.piece)
      functions.pointee.add_rows(keys, Int64(stride), 1, Int32(stride), sum)
      functions.pointee.dot_rows(
        queries, Int64(stride), Int32(group), Int32(stride), sum, denominators)
    } else if factor != 1 {
      functions.pointee.scale_row(queries, Int64(group * stride), factor)
    }
    var token = attn_step(
      key: keys, erase: recurrence.erases ? UnsafePointer(erases) : nil, keep: keptOver,
      queries: queries, query_stride: Int64(stride), heads: Int32(group),
      columns: Int32(layout.stateRows))
    for panel in head.panels {
      functions.pointee.step(
        &token, Int32(layout.panelVectors), written + panel * layout.width, statePanel(panel),
        output + panel * layout.width, Int64(layout.valueStride))
    }
    for member in 0..<group {
      let row = output + member * layout.valueStride
      add(additions, 1, head, to: row)
      store(
        0..<1, operands, head, queryHead: head.kvHead * group + member, row,
        denominators + member)
    }
  }
}

extension TensorView {
  /// The row of an operand for a token of a key/value head; axes that it does not have count once.
  func gate(_ batch: Int, _ head: Int, _ token: Int) -> UnsafePointer<Float> {
    row(
      shape.batch == 1 ? 0 : batch, shape.heads == 1 ? 0 : head, shape.rows == 1 ? 0 : token)
  }
}
