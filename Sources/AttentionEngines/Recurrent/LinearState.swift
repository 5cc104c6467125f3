import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// One worker's memory for linear attention.
package final class LinearScratch {
  /// Where its memory lies.
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let state: ArenaPart<Float>
    fileprivate let features: ArenaPart<Float>
    fileprivate let paddedValues: ArenaPart<Float>
    fileprivate let weights: ArenaPart<Float>
    fileprivate let queries: ArenaPart<Float>
    fileprivate let output: ArenaPart<Float>
    fileprivate let normalisers: ArenaPart<Float>
    fileprivate let factors: ArenaPart<Float>
    fileprivate let one: ArenaPart<Float>
    fileprivate let rowCopies: ArenaPart<Float>
    fileprivate let featureRows: ArenaPart<UnsafeRawPointer>
    fileprivate let oneRows: ArenaPart<UnsafeRawPointer>
    fileprivate let valueRows: ArenaPart<UnsafeRawPointer>
    fileprivate let stateRows: ArenaPart<UnsafeRawPointer>
    fileprivate let inputRows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>
    fileprivate let storedRows: ArenaPart<UnsafeMutableRawPointer>
    fileprivate let bounds: ArenaPart<Int32>
    fileprivate let pieces: ArenaPart<attn_piece>
    fileprivate let prefetches: PrefetchList.Layout

    init(_ layout: LinearStateLayout) {
      let (chunk, lanes) = (LinearScratch.chunk, layout.lanes)
      state = arena.add(layout.count)
      features = arena.add(chunk * layout.paddedFeatures)
      paddedValues = arena.add(chunk * layout.groups * lanes)
      weights = arena.add(chunk * lanes)
      queries = arena.add(layout.headDim * lanes)
      output = arena.add(layout.valueDim * lanes)
      normalisers = arena.add(lanes)
      factors = arena.add(lanes)
      one = arena.add(lanes)
      rowCopies = arena.add(layout.rowCopies)
      featureRows = arena.add(chunk)
      oneRows = arena.add(chunk)
      valueRows = arena.add(chunk)
      stateRows = arena.add(layout.headDim)
      inputRows = arena.add(lanes)
      outputRows = arena.add(lanes)
      storedRows = arena.add(lanes)
      bounds = arena.add(PanelBounds.size(lanes: lanes, vectorLanes: layout.vectorLanes))
      pieces = arena.add(Int(ATTN_BLOCK_PIECES))
      // Keys and values of a chunk, queries and output of a panel.
      prefetches = PrefetchList.Layout(capacity: 2 * chunk + 2 * lanes, in: &arena)
    }
  }

  package let layout: LinearStateLayout
  private let functions: UnsafePointer<attn_kernels>
  private let arena: Arena
  /// S and z of the keys taken in so far.
  package let state: UnsafeMutablePointer<Float>
  /// `[chunk][paddedFeatures]` phi(k) of the chunk in work.
  private let features: UnsafeMutablePointer<Float>
  /// `[chunk][groups * L]` values padded to whole vectors.
  private let paddedValues: UnsafeMutablePointer<Float>
  /// `[chunk][L]` phi(k) . phi(q) within a chunk.
  private let weights: UnsafeMutablePointer<Float>
  /// `[d][L]` phi(q).
  private let queries: UnsafeMutablePointer<Float>
  /// `[dV][L]`.
  private let output: UnsafeMutablePointer<Float>
  /// `[L]` phi(q) . z.
  private let normalisers: UnsafeMutablePointer<Float>
  /// `[L]`.
  private let factors: UnsafeMutablePointer<Float>
  /// `[L][d]` and later `[L][dV]`: rows of a panel that are not stored as fp32.
  private let rowCopies: UnsafeMutablePointer<Float>
  private let featureRows: RowPointers
  /// Rows of a single 1 each: summing rows is a product with it.
  private let oneRows: RowPointers
  private let valueRows: RowPointers
  private let stateRows: RowPointers
  private let inputRows: RowPointers
  private let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  private let storedRows: UnsafeMutablePointer<UnsafeMutableRawPointer>
  private let bounds: PanelBounds
  private let pieces: UnsafeMutablePointer<attn_piece>
  /// What the next chunk and the next panel need.
  private var prefetches: PrefetchList
  /// fp32 values of the loaded keys, and floats from one to the next.
  private var values: (first: UnsafePointer<Float>, stride: Int)

  /// Keys of a chunk.
  static let chunk = 128

  static func bytes(_ layout: LinearStateLayout) -> Int { Layout(layout).arena.bytes }

  package init(_ layout: LinearStateLayout, kernels: KernelTable) throws(AttentionError) {
    let parts = Layout(layout)
    self.layout = layout
    functions = kernels.functions
    arena = try Arena(parts.arena)
    state = arena[parts.state]
    features = arena[parts.features]
    paddedValues = arena[parts.paddedValues]
    weights = arena[parts.weights]
    queries = arena[parts.queries]
    output = arena[parts.output]
    normalisers = arena[parts.normalisers]
    factors = arena[parts.factors]
    rowCopies = arena[parts.rowCopies]
    featureRows = arena[parts.featureRows]
    oneRows = arena[parts.oneRows]
    valueRows = arena[parts.valueRows]
    stateRows = arena[parts.stateRows]
    inputRows = arena[parts.inputRows]
    outputRows = arena[parts.outputRows]
    storedRows = arena[parts.storedRows]
    bounds = PanelBounds(arena[parts.bounds], lanes: layout.lanes)
    pieces = arena[parts.pieces]
    prefetches = PrefetchList(parts.prefetches, arena)
    values = (UnsafePointer(paddedValues), 0)
    let one = arena[parts.one]
    one[0] = 1
    for t in 0..<LinearScratch.chunk {
      featureRows[t] = UnsafeRawPointer(features + t * layout.paddedFeatures)
      oneRows[t] = UnsafeRawPointer(one)
    }
  }

  /// Forgets all keys.
  package func reset() { state.update(repeating: 0, count: layout.count) }

  /// Computes phi(k) of at most `chunk` keys, brings their values to fp32, and has as many keys and
  /// values after them, which are usually next, prefetched.
  ///
  /// - Parameter limit: the keys there are; those after them may not even have an address.
  package func load(
    keys: Range<Int>, key: TensorView, value: TensorView, batch: Int, kvHead: Int, limit: Int
  ) {
    if keys.isEmpty { return prefetches.clear() }
    for t in 0..<keys.count {
      let row = keys.lowerBound + t
      let out = features + t * layout.paddedFeatures
      if key.elementType == .float32 {
        functions.pointee.elu_plus_one(
          key.row(batch, kvHead, row), Int64(layout.headDim), out)
      } else {
        widen(key, batch, kvHead, row, into: out)
        functions.pointee.elu_plus_one(out, Int64(layout.headDim), out)
      }
    }
    loadValues(keys, value, batch: batch, kvHead: kvHead)
    prefetches.clear()
    let upcoming = keys.upperBound..<max(min(keys.upperBound + keys.count, limit), keys.upperBound)
    prefetches.add(upcoming, of: key, batch: batch, head: kvHead)
    prefetches.add(upcoming, of: value, batch: batch, head: kvHead)
  }

  /// Uses fp32 values in place where they follow each other and fill vectors, else copies them.
  private func loadValues(_ keys: Range<Int>, _ value: TensorView, batch: Int, kvHead: Int) {
    let first = keys.lowerBound
    if value.elementType == .float32, layout.valuesFillVectors,
      value.regularRows(from: first, limit: keys.count) == keys.count
    {
      values = (value.row(batch, kvHead, first), value.rowStride)
    } else {
      values = (UnsafePointer(paddedValues), layout.groups * layout.groupLanes)
      for t in 0..<keys.count {
        widen(value, batch, kvHead, first + t, into: paddedValues + t * values.stride)
      }
    }
    for t in 0..<keys.count { valueRows[t] = UnsafeRawPointer(values.first + t * values.stride) }
  }

  /// Brings one row to fp32.
  private func widen(
    _ tensor: TensorView, _ batch: Int, _ head: Int, _ row: Int,
    into out: UnsafeMutablePointer<Float>
  ) {
    var address = tensor.rowAddress(batch, head, row)
    functions.pointee.widen(
      &address, 1, Int32(tensor.shape.columns), tensor.elementType.storage,
      tensor.channelScales(batch, head), out)
  }

  /// Adds keys to a state, a chunk at a time.
  func take(
    _ keys: Range<Int>, key: TensorView, value: TensorView, batch: Int, kvHead: Int, limit: Int,
    into state: UnsafeMutablePointer<Float>
  ) {
    for first in Swift.stride(from: keys.lowerBound, to: keys.upperBound, by: LinearScratch.chunk) {
      let chunk = first..<min(first + LinearScratch.chunk, keys.upperBound)
      load(keys: chunk, key: key, value: value, batch: batch, kvHead: kvHead, limit: limit)
      accumulate(count: chunk.count, into: state)
    }
  }

  /// Adds the first `count` loaded keys to a state.
  package func accumulate(count: Int, into state: UnsafeMutablePointer<Float>) {
    if count == 0 { return }
    for group in 0..<layout.groups {
      functions.pointee.accumulate(
        featureRows.floats, values.first + group * layout.groupLanes, Int64(values.stride),
        Int32(count), Int32(layout.headDim), Int32(layout.vectors(layout.columns(group))),
        state + group * layout.headDim * layout.lanes, prefetches.pending)
    }
    for first in Swift.stride(from: 0, to: layout.paddedFeatures, by: layout.lanes) {
      functions.pointee.accumulate(
        oneRows.floats, features + first, Int64(layout.paddedFeatures), Int32(count), 1,
        Int32(layout.vectors(min(layout.lanes, layout.paddedFeatures - first))),
        state + layout.normaliser + first, nil)
    }
  }

  /// Outputs of a panel's query rows from a state of earlier keys and, within the chunk loaded
  /// last, the keys each row sees.
  ///
  /// - Parameters:
  ///   - upcoming: the panel after this one, whose queries are prefetched meanwhile.
  ///   - chunk: keys of the loaded chunk to score pair by pair; may be empty.
  package func attend(
    _ operands: AttentionOperands, batch: Int, rows: PanelRows, upcoming: PanelRows?,
    geometry: MaskGeometry, state: UnsafePointer<Float>, chunk: Range<Int>
  ) {
    let lanes = layout.lanes
    let live = rows.live
    let vectors = layout.vectors(live)
    rows.forEach { inputRows[$0] = operands.query.rowAddress(batch, $1, $2) }
    if operands.query.elementType != .float32 {
      inputRows.widen(
        count: live, columns: layout.headDim, storage: operands.query.elementType.storage,
        into: rowCopies, functions)
    }
    functions.pointee.pack(inputRows.floats, Int32(live), Int32(layout.headDim), 1, queries)
    if chunk.isEmpty { prefetches.clear() }
    prefetch(rows, of: operands.output.reading, batch: batch)
    if let upcoming { prefetch(upcoming, of: operands.query, batch: batch) }
    functions.pointee.elu_plus_one(queries, Int64(layout.headDim * lanes), queries)
    output.update(repeating: 0, count: layout.valueDim * lanes)
    normalisers.update(repeating: 0, count: lanes)

    for group in 0..<layout.groups {
      for feature in 0..<layout.headDim {
        stateRows[feature] = UnsafeRawPointer(
          state + (group * layout.headDim + feature) * lanes)
      }
      functions.pointee.accumulate(
        stateRows.floats, queries, Int64(lanes), Int32(layout.headDim),
        Int32(layout.columns(group)),
        Int32(vectors), output + group * layout.groupLanes * lanes, prefetches.pending)
    }
    for feature in 0..<layout.headDim {
      stateRows[feature] = UnsafeRawPointer(state + layout.normaliser + feature)
    }
    functions.pointee.accumulate(
      stateRows.floats, queries, Int64(lanes), Int32(layout.headDim), 1, Int32(vectors),
      normalisers, nil)

    if !chunk.isEmpty {
      rows.forEach { lane, _, row in
        let visible = geometry.visible(from: row + geometry.offset)
        bounds.lower[lane] = Int32(visible.lowerBound)
        bounds.upper[lane] = Int32(visible.upperBound)
      }
      bounds.repeatLast(live: live, lanes: lanes)
      bounds.summarise(vectors: vectors, vectorLanes: layout.vectorLanes)
      var panel = attn_panel(
        queries: queries, weights: weights, output: output, maxima: factors, sums: normalisers,
        head_words: Int32(layout.headDim), value_dim: Int32(layout.valueDim),
        vectors: Int32(vectors), factor: 1, softcap: 0)
      var block = attn_block(
        keys: featureRows, values: valueRows, pieces: pieces,
        piece_count: Int32(
          bounds.cut(
            chunk, vectors: vectors, tile: layout.tileKeys, block: chunk.lowerBound,
            into: pieces)),
        first_key: Int32(chunk.lowerBound), lower: bounds.lower, upper: bounds.upper,
        prefetch: prefetches.pending, bias: nil)
      functions.pointee.attend_linear(&panel, &block)
    }
    store(operands, batch: batch, rows: rows, geometry: geometry)
  }

  private func prefetch(_ rows: PanelRows, of tensor: TensorView, batch: Int) {
    let covered = rows.covered
    for head in covered.heads { prefetches.add(covered.rows, of: tensor, batch: batch, head: head) }
  }

  /// Divides by the normaliser and stores output rows and LSE.
  private func store(
    _ operands: AttentionOperands, batch: Int, rows: PanelRows, geometry: MaskGeometry
  ) {
    let isFloat32 = operands.output.reading.elementType == .float32
    rows.forEach { lane, head, row in
      outputRows[lane] =
        isFloat32 ? operands.output.row(batch, head, row) : rowCopies + lane * layout.valueDim
    }
    for lane in 0..<layout.lanes {
      factors[lane] = 1 / (normalisers[lane] + Float(LinearStateLayout.epsilon))
    }
    rows.forEach { lane, head, row in
      let sees = !geometry.visible(from: row + geometry.offset).isEmpty
      if !sees { factors[lane] = 0 }
      operands.logSumExp?.row(batch, head, row)[0] =
        sees ? Float.log(normalisers[lane]) : -.infinity
    }
    functions.pointee.unpack(
      output, factors, nil, Int32(rows.live), Int32(layout.valueDim), outputRows)
    if isFloat32 { return }
    rows.forEach { storedRows[$0] = operands.output.rowAddress(batch, $1, $2) }
    outputRows.narrow(
      count: rows.live, columns: layout.valueDim,
      storage: operands.output.reading.elementType.storage, into: storedRows, functions)
  }
}
