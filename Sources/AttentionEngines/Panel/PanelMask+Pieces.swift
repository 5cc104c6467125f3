import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

extension PanelMask {
  /// Cuts the places of a block into pieces, as bounds do, but for what mask and bias say too, and
  /// works out the bias of those that need it.
  ///
  /// - Parameters:
  ///   - places: at most a block of them.
  ///   - vectors: vectors of lanes in use.
  ///   - tile: keys the kernel scores together.
  ///   - grain: what pieces begin and end at multiples of, as `places` must.
  ///   - block: the place that pieces count from.
  /// - Returns: how many pieces there are; 0 when the panel sees none of the places.
  func cut(
    _ slot: Int, _ places: Range<Int>, of keys: KeySequence, bounds: PanelBounds, vectors: Int,
    tile: Int, grain: Int, block: Int, into pieces: UnsafeMutablePointer<attn_piece>
  ) -> Int {
    // Tiles are cut at numbers of keys, pieces at places.
    guard map != nil, keys.isConsecutive, keys.start % grain == 0 else {
      let count = bounds.cut(
        places, vectors: vectors, tile: tile, grain: grain, block: block, into: pieces)
      if count == 0 { return 0 }
      for index in 0..<count { pieces[index].masked |= ATTN_BY_BIAS }
      fill(
        slot, pieces, count, gathering: gathers(keys) ? places : nil, of: keys, block: block,
        vectors: vectors)
      return count
    }
    guard let hull = bounds.hull(vectors: vectors, grain: grain, within: places) else { return 0 }
    let window = Window(hull, of: keys)
    var seen: UInt32 = 0
    var plain = ~UInt32(0)
    for vector in 0..<vectors {
      let set = tiles + (slot * self.vectors + vector) * 2 * words
      windows[2 * vector] = TileMap.window(set, from: window.tile, count: window.count)
      windows[2 * vector + 1] = TileMap.window(
        set + words, from: window.tile, count: window.count)
      seen |= windows[2 * vector]
      plain &= windows[2 * vector + 1]
    }
    if seen == 0 { return 0 }
    if plain == UInt32((1 << UInt64(window.count)) - 1) {
      return bounds.cut(
        places, vectors: vectors, tile: tile, grain: grain, block: block, into: pieces)
    }
    var count = 0
    for index in 0..<window.count {
      let first = (window.tile + index) * TileMap.tileKeys - keys.start
      let cell = max(first, hull.lowerBound)..<min(first + TileMap.tileKeys, hull.upperBound)
      guard let piece = piece(cell, index: index, bounds: bounds, vectors: vectors, block: block)
      else { continue }
      if count > 0, pieces[count - 1].isContinued(by: piece) {
        pieces[count - 1].count += piece.count
      } else {
        pieces[count] = piece
        count += 1
      }
    }
    fill(slot, pieces, count, gathering: nil, of: keys, block: block, vectors: vectors)
    return count
  }

  /// A tile's piece; nil when no row of the panel sees any of it.
  @inline(__always)
  private func piece(
    _ cell: Range<Int>, index: Int, bounds: PanelBounds, vectors: Int, block: Int
  ) -> attn_piece? {
    var first = vectors
    var last = -1
    for vector in 0..<vectors
    where windows[2 * vector] >> UInt32(index) & 1 != 0
      && bounds.first(vector) < cell.upperBound && bounds.end(vector) > cell.lowerBound
    {
      first = min(first, vector)
      last = vector
    }
    if last < 0 { return nil }
    // Pieces begin at the panel's first vector or end at its last.
    if first > 0 { last = vectors - 1 }
    var masked: Int32 = 0
    for vector in first...last {
      if bounds.allFrom(vector) > cell.lowerBound || bounds.allUntil(vector) < cell.upperBound {
        masked |= ATTN_BY_BOUNDS
      }
      if windows[2 * vector + 1] >> UInt32(index) & 1 == 0 { masked |= ATTN_BY_BIAS }
    }
    return attn_piece(
      first: Int32(cell.lowerBound - block), count: Int32(cell.count), first_vector: Int32(first),
      vectors: Int32(last - first + 1), masked: masked)
  }

  /// Works out the biases of the pieces that need one.
  ///
  /// - Parameter places: what has to be gathered first where the keys are not consecutive.
  private func fill(
    _ slot: Int, _ pieces: UnsafeMutablePointer<attn_piece>, _ count: Int,
    gathering places: Range<Int>?, of keys: KeySequence, block: Int, vectors: Int
  ) {
    var isGathered = false
    for index in 0..<count where pieces[index].masked & ATTN_BY_BIAS != 0 {
      if fillForAll(slot, pieces[index], of: keys, block: block) {
        pieces[index].masked ^= ATTN_BY_BIAS | ATTN_BY_KEY_BIAS
        continue
      }
      if let places, !isGathered {
        gather(slot, places, of: keys, block: block, vectors: vectors)
        isGathered = true
      }
      fill(slot, pieces[index], of: keys, block: block)
    }
  }

  /// Works out the biases of a piece's keys where they are the same for all lanes, hide nothing and are
  /// so small that they can be added without more ado. False where not.
  private func fillForAll(
    _ slot: Int, _ piece: attn_piece, of keys: KeySequence, block: Int
  ) -> Bool {
    guard let biases = keyBiases[slot] else { return false }
    let (first, count) = (Int(piece.first), Int(piece.count))
    let columns = Int(rows[slot * lanes].columns)
    // Places of whole words beyond the last key are seen by nobody.
    if keys.key(block + first + count - 1) >= columns { return false }
    let out = keyBias + first
    if keys.isConsecutive {
      out.update(from: biases + keys.key(block + first), count: count)
    } else {
      for place in 0..<count { out[place] = biases[keys.key(block + first + place)] }
    }
    var fits = true
    for place in 0..<count {
      // NaN and infinities do not.
      fits = fits && abs(out[place]) <= 1e30
      out[place] *= .log16e
    }
    return fits
  }

  /// Works out the bias of a piece's lanes and places.
  private func fill(_ slot: Int, _ piece: attn_piece, of keys: KeySequence, block: Int) {
    let place = block + Int(piece.first)
    let key = keys.key(place)
    let isGathered = gathers(keys)
    if rule.hasSlopes {
      for t in 0..<Int(piece.count) { offsets[t] = Float(keys.key(place + t) - key) }
    }
    var source = attn_bias_block(
      rows: isGathered ? gatheredRows : rows + slot * lanes,
      column: isGathered ? Int64(piece.first) : Int64(key), key: Int64(key),
      offsets: rule.hasSlopes ? UnsafePointer(offsets) : nil, count: piece.count,
      first_lane: piece.first_vector * Int32(vectorLanes),
      lanes: piece.vectors * Int32(vectorLanes))
    functions.pointee.fill_bias(&source, bias + Int(piece.first) * lanes)
  }

  /// Whether what mask and bias say of a sequence has to be gathered first.
  private func gathers(_ keys: KeySequence) -> Bool { map != nil && !keys.isConsecutive }

  /// Copies what mask and bias say of keys that are not consecutive next to each other.
  private func gather(
    _ slot: Int, _ places: Range<Int>, of keys: KeySequence, block: Int, vectors: Int
  ) {
    let size = Int(ATTN_BLOCK_KEYS)
    for lane in 0..<vectors * vectorLanes {
      var row = rows[slot * lanes + lane]
      let (mask, bias) = (gatheredMask + lane * size, gatheredBias + lane * size)
      for place in places {
        let key = keys.key(place)
        let isThere = key < row.columns
        if let own = row.mask { mask[place - block] = isThere ? own[key] : 0 }
        if let own = row.bias { bias[place - block] = isThere ? own[key] : -.infinity }
      }
      if rule.hasMask { row.mask = UnsafePointer(mask) }
      if rule.hasBias { row.bias = UnsafePointer(bias) }
      row.columns = ATTN_BLOCK_KEYS
      gatheredRows[lane] = row
    }
  }
}

extension PanelBounds {
  /// The places, of those given, between the first and the last that some row sees, in whole grains;
  /// nil for none.
  fileprivate func hull(vectors: Int, grain: Int, within places: Range<Int>) -> Range<Int>? {
    var (start, stop) = (Int.max, 0)
    for vector in 0..<vectors {
      start = min(start, first(vector, grain: grain))
      stop = max(stop, end(vector, grain: grain))
    }
    start = max(start, places.lowerBound)
    stop = min(stop, places.upperBound)
    return start < stop ? start..<stop : nil
  }
}

extension attn_piece {
  /// Whether another piece goes on where this one ends, for the same lanes and seen in the same way.
  fileprivate func isContinued(by next: attn_piece) -> Bool {
    first + count == next.first && first_vector == next.first_vector && vectors == next.vectors
      && masked == next.masked
  }
}
