import AttentionContract
import AttentionKernels
import CAttentionKernels
import RealModule
import Tensors

/// One worker's memory for linear attention.
package final class LinearScratch: @unchecked Sendable {
  package let layout: LinearStateLayout
  private let functions: UnsafePointer<attn_kernels>
  private let floats: AlignedFloats
  private let pointers: RowPointers
  private let bounds: PanelBounds
  private let pieces: UnsafeMutablePointer<attn_piece>
  /// What the next chunk and the next panel need.
  private let prefetches: PrefetchList
  private let outputRows: UnsafeMutablePointer<UnsafeMutablePointer<Float>>
  private let storedRows: UnsafeMutablePointer<UnsafeMutableRawPointer>
  /// fp32 values of the loaded keys, and floats from one to the next.
  private var values: (first: UnsafePointer<Float>, stride: Int)

  /// Keys of a chunk.
  static let chunk = 128

  static func bytes(_ layout: LinearStateLayout) -> Int {
    4 * floatCount(layout)
      + MemoryLayout<UnsafeRawPointer>.stride * (pointerCount(layout) + 2 * layout.lanes)
      + 4 * PanelBounds.size(lanes: layout.lanes, vectorLanes: layout.vectorLanes)
      + MemoryLayout<attn_piece>.stride * Int(ATTN_BLOCK_PIECES)
      + PrefetchList.bytes(capacity: prefetchCapacity(layout))
  }

  /// Keys and values of a chunk, queries and output of a panel.
  private static func prefetchCapacity(_ layout: LinearStateLayout) -> Int {
    2 * chunk + 2 * layout.lanes
  }

  private static func floatCount(_ layout: LinearStateLayout) -> Int {
    layout.count + chunk * (layout.paddedFeatures + layout.groups * layout.lanes + layout.lanes)
      + layout.lanes * (layout.headDim + layout.valueDim + 2) + layout.lanes + layout.rowCopies
  }

  private static func pointerCount(_ layout: LinearStateLayout) -> Int {
    3 * max(chunk, layout.headDim) + (layout.groups + 1) * layout.headDim + layout.lanes
  }

  package init(_ layout: LinearStateLayout, kernels: KernelTable) throws(AttentionError) {
    self.layout = layout
    functions = kernels.functions
    floats = try AlignedFloats(
      count: LinearScratch.floatCount(layout), for: "workspace", touched: true)
    let count = LinearScratch.pointerCount(layout)
    pointers = .allocate(capacity: count)
    bounds = PanelBounds(
      .allocate(
        capacity: PanelBounds.size(lanes: layout.lanes, vectorLanes: layout.vectorLanes)),
      lanes: layout.lanes)
    pieces = .allocate(capacity: Int(ATTN_BLOCK_PIECES))
    prefetches = PrefetchList(capacity: LinearScratch.prefetchCapacity(layout))
    outputRows = .allocate(capacity: layout.lanes)
    storedRows = .allocate(capacity: layout.lanes)
    values = (UnsafePointer(floats.base), 0)
    one[0] = 1
    for t in 0..<LinearScratch.chunk {
      featureRows[t] = UnsafeRawPointer(features + t * layout.paddedFeatures)
      oneRows[t] = UnsafeRawPointer(one)
    }
  }

  deinit {
    pointers.deallocate()
    bounds.lower.deallocate()
    pieces.deallocate()
    outputRows.deallocate()
    storedRows.deallocate()
  }

  // Floats.
  /// S and z of the keys taken in so far.
  package var state: UnsafeMutablePointer<Float> { floats.base }
  /// `[chunk][paddedFeatures]` phi(k) of the chunk in work.
  private var features: UnsafeMutablePointer<Float> { state + layout.count }
  /// `[chunk][groups * L]` values padded to whole vectors.
  private var paddedValues: UnsafeMutablePointer<Float> {
    features + LinearScratch.chunk * layout.paddedFeatures
  }
  /// `[chunk][L]` phi(k) . phi(q) within a chunk.
  private var weights: UnsafeMutablePointer<Float> {
    paddedValues + LinearScratch.chunk * layout.groups * layout.lanes
  }
  /// `[d][L]` phi(q).
  private var queries: UnsafeMutablePointer<Float> {
    weights + LinearScratch.chunk * layout.lanes
  }
  /// `[dV][L]`.
  private var output: UnsafeMutablePointer<Float> { queries + layout.headDim * layout.lanes }
  /// `[L]` phi(q) . z.
  private var normalisers: UnsafeMutablePointer<Float> {
    output + layout.valueDim * layout.lanes
  }
  /// `[L]`.
  private var factors: UnsafeMutablePointer<Float> { normalisers + layout.lanes }
  /// A single 1: summing rows is a product with it.
  private var one: UnsafeMutablePointer<Float> { factors + layout.lanes }
  /// `[L][d]` and later `[L][dV]`: rows of a panel that are not stored as fp32.
  private var rowCopies: UnsafeMutablePointer<Float> { one + layout.lanes }

  // Row pointers.
  private var featureRows: RowPointers { pointers }
  private var oneRows: RowPointers {
    featureRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var valueRows: RowPointers {
    oneRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var stateRows: RowPointers {
    valueRows + max(LinearScratch.chunk, layout.headDim)
  }
  private var inputRows: RowPointers {
    stateRows + (layout.groups + 1) * layout.headDim
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
