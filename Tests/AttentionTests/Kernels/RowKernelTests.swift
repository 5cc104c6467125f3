import Attention
import AttentionTestSupport
import CAttentionKernels
import RealModule
import Testing

/// Kernels over one row of floats, and the exponential they share.
@Suite struct RowKernelTests {
  /// Lengths around every vector and around four vectors of every instruction set.
  static let lengths = Array(0...140) + [255, 256, 257, 1000]

  @Test(arguments: KernelFixture.all)
  func softmaxRowMatchesSoftmax(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 6)
    for length in RowKernelTests.lengths {
      // The largest element visits every place: none may be overlooked.
      for peak in Set([0, length / 2, length - 1, length * 3 / 4, length / 3]) where peak >= 0 {
        var row = (0..<length).map { _ in generator.normal() * 10 }
        if peak < length { row[peak] = 300 }
        let scale: Float = 0.7 / 4
        let before = row
        var maximum: Float = .nan
        let sum = kernel.functions.softmax_row(&row, Int64(length), scale, &maximum)
        #expect(
          maximum == before.map { $0 * scale }.max() ?? -.infinity, "length \(length), \(peak)")
        let top = Double(before.max() ?? 0)
        let weights = before.map { Double.exp2(4 * (Double($0) - top) * Double(scale)) }
        #expect(
          isClose(sum, weights.reduce(0, +), within: 3e-5), "length \(length), peak \(peak)")
        let matches = zip(row, weights).allSatisfy { isClose($0, $1, within: 2e-5) }
        #expect(matches, "length \(length), peak \(peak)")
      }
    }
  }

  /// A flat row: the sum counts every element.
  @Test(arguments: KernelFixture.all)
  func softmaxRowSumsEveryElement(_ kernel: KernelFixture) {
    for length in RowKernelTests.lengths where length > 0 {
      var row = [Float](repeating: -3, count: length)
      var maximum: Float = .nan
      let sum = kernel.functions.softmax_row(&row, Int64(length), 1, &maximum)
      #expect(sum == Float(length))
      #expect(maximum == -3)
      #expect(row.allSatisfy { $0 == 1 })
    }
  }

  @Test(arguments: KernelFixture.all)
  func softmaxRowKeepsExtremes(_ kernel: KernelFixture) {
    for length in [1, 5, 63, 64, 65, 200] {
      for place in [0, length / 2, length - 1] {
        for special in [Float.nan, -.nan, Float(nan: 77, signaling: false), .infinity] {
          var row = [Float](repeating: 1, count: length)
          row[place] = special
          var maximum: Float = 0
          let sum = kernel.functions.softmax_row(&row, Int64(length), 1, &maximum)
          #expect(sum.isNaN && row[place].isNaN, "\(special) at \(place) of \(length)")
        }
        var row = [Float](repeating: 1, count: length)
        row[place] = -.infinity
        var maximum: Float = 0
        let sum = kernel.functions.softmax_row(&row, Int64(length), 1, &maximum)
        #expect(sum == Float(length - 1))
        #expect(row[place] == 0)
      }
      var row = [Float](repeating: -.infinity, count: length)
      var maximum: Float = 0
      #expect(kernel.functions.softmax_row(&row, Int64(length), 1, &maximum) == 0)
      #expect(maximum == -.infinity)
      #expect(row.allSatisfy { $0 == 0 })
    }
  }

  /// However large finite scores are, the largest weighs 1 and what is far below it nothing; at every
  /// length, so in whole vectors and in what is left over.
  @Test(arguments: KernelFixture.all, [Float(1), 0.36, 1.9, 1e-3])
  func softmaxRowIsRightForLargeScores(_ kernel: KernelFixture, _ scale: Float) {
    let largest = Float.greatestFiniteMagnitude * min(1, 0.5 / scale)
    for size in [1.5e9, 7e20, largest] as [Float] {
      for length in 1...70 {
        for place in [0, length / 2, length - 1] {
          // Odd steps, so that neither scores nor their products with the scale are round numbers.
          let before = (0..<length).map { j in
            j == place ? size : size * (Float(j % 11) / 11.3 - (j % 3 == 0 ? 1.9 : 0.1)) / 1.9
          }
          var row = before
          var maximum: Float = .nan
          let sum = kernel.functions.softmax_row(&row, Int64(length), scale, &maximum)
          let isRight = (0..<length).allSatisfy { row[$0] == (before[$0] == size ? 1 : 0) }
          #expect(isRight && sum == 1, "\(size) at \(place) of \(length): \(row), sum \(sum)")
          #expect(maximum == size * scale)
        }
        var row = [Float](repeating: -size, count: length)
        var maximum: Float = .nan
        #expect(
          kernel.functions.softmax_row(&row, Int64(length), scale, &maximum) == Float(length))
        #expect(row.allSatisfy { $0 == 1 } && maximum == -size * scale)
      }
    }
  }

  /// 2^x to 3e-7 relative from -126 to 0 (scores never exceed the row's maximum here), monotone
  /// to zero below.
  @Test(arguments: KernelFixture.all)
  func exponentialIsAccurate(_ kernel: KernelFixture) {
    var worst = 0.0
    let exponents = stride(from: Float(-150), through: 0, by: 0.003_1).map { $0 }
    for chunk in stride(from: 0, to: exponents.count, by: 1000) {
      var row = Array(exponents[chunk..<min(chunk + 1000, exponents.count)]) + [0]
      let scores = row
      var maximum: Float = 0
      _ = kernel.functions.softmax_row(&row, Int64(row.count), 0.25, &maximum)
      for (x, weight) in zip(scores, row) {
        let truth = Double.exp2(Double(x))
        if x >= -126 {
          worst = max(worst, abs(Double(weight) - truth) / truth)
        } else {
          #expect(weight >= 0 && Double(weight) <= 2 * 0x1p-126, "2^\(x) gave \(weight)")
        }
      }
    }
    #expect(worst < 3e-7, "relative error \(worst)")
  }

  /// Positive exponents up to 8 arise while the reference trails the maximum.
  @Test(arguments: KernelFixture.exponentials)
  func weightsOfABlockAreAccurate(_ kernel: KernelFixture) {
    var worst = 0.0
    for step in -13_000...800 {
      let x = Float(step) / 400
      // Lane 0: a first key of score 0 sets the reference, a second of score x follows it.
      let lanes = kernel.lanes
      var generator = TestGenerator(seed: 1)
      var panel = KernelPanel(lanes: lanes, headDim: 1, valueDim: 1, &generator, size: 0)
      panel.queries = .init(repeating: 1, count: lanes)
      panel.maxima = .init(repeating: 0, count: lanes)
      panel.sums = .init(repeating: 1, count: lanes)
      let keys = RowTable(count: 1, columns: 1) { _, _ in x }
      let values = RowTable(count: 1, columns: 1) { _, _ in 1 }
      panel.meet(
        kernel.attend, keys, values,
        pieces: [attn_piece(first: 0, count: 1, first_vector: 0, vectors: 1, masked: 0)],
        vectors: 1)
      let truth = Double.exp2(4 * Double(x))
      if truth >= 0x1p-126 {
        worst = max(worst, abs(Double(panel.output[0]) - truth) / truth)
      } else {
        #expect(panel.output[0] >= 0 && panel.output[0] <= 0x1p-125)
      }
    }
    #expect(worst < 3e-7, "relative error \(worst)")
  }

  /// From far below the bound to far above it, with both signs.
  @Test(arguments: KernelFixture.all)
  func softcapRowIsAScaledTanh(_ kernel: KernelFixture) {
    let inputs = (-600...600).map { Float($0 < 0 ? -1 : 1) * Float.exp2(abs(Float($0)) / 40 - 9) }
    var row = inputs
    kernel.functions.softcap_row(&row, Int64(row.count), 0.5, 3)
    for (x, found) in zip(inputs, row) {
      let truth = 3 * Double.tanh(Double(x) * 0.5 / 3)
      #expect(abs(Double(found) - truth) <= 3e-7 * abs(truth), "\(x)")
    }
    var special: [Float] = [.nan, .infinity, -.infinity, 0]
    kernel.functions.softcap_row(&special, 4, 1, 3)
    #expect(special[0].isNaN)
    #expect(Array(special[1...]) == [3, -3, 0])
  }

  @Test(arguments: KernelFixture.all)
  func scaleRowScales(_ kernel: KernelFixture) {
    for length in RowKernelTests.lengths {
      var row = (0..<length + 1).map { Float($0) }
      kernel.functions.scale_row(&row, Int64(length), 0.5)
      let matches = (0..<length).allSatisfy { row[$0] == Float($0) * 0.5 }
      #expect(matches && row[length] == Float(length), "length \(length)")
    }
  }

  @Test(arguments: KernelFixture.all)
  func eluPlusOneMatchesItsDefinition(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 7)
    for length in RowKernelTests.lengths {
      var x = (0..<length).map { _ in generator.normal() * 20 }
      for (place, special) in [Float.nan, .infinity, -.infinity, 0, -0.0, 1e30, -1e30].enumerated()
      where place < length {
        x[length - 1 - place] = special
      }
      var out = [Float](repeating: 7, count: length + 1)
      kernel.functions.elu_plus_one(x, Int64(length), &out)
      for (value, result) in zip(x, out) {
        let truth = value > 0 ? Double(value) + 1 : Double.exp(Double(value))
        // The exponent is rounded once more than the result.
        let relative = 3e-7 + 0x1p-23 * min(abs(Double(value)), 130)
        #expect(
          isClose(result, truth, within: relative * truth + 1e-36), "elu(\(value)) + 1")
      }
      #expect(out[length] == 7)
    }
  }

  /// The sum of bits read depends on every element.
  @Test(arguments: KernelFixture.all)
  func readFloatsReadsEveryElement(_ kernel: KernelFixture) {
    for length in [1, 7, 127, 128, 129, 300] {
      let zero = [Float](repeating: 0, count: length)
      let nothing = kernel.functions.read_floats(zero, Int64(length))
      for place in 0..<length {
        var row = zero
        row[place] = 3
        #expect(
          kernel.functions.read_floats(row, Int64(length)) != nothing, "\(place) of \(length)")
      }
    }
  }

  @Test(arguments: KernelFixture.all, Arithmetic.allCases)
  func productRoundsStayFinite(_ kernel: KernelFixture, _ arithmetic: Arithmetic) {
    if !kernel.table.runs(arithmetic) { return }
    let format = OperandFormat(arithmetic, in: kernel.table).code
    #expect(attn_product_rounds(kernel.table.functions, format, 1000).isFinite)
    #expect(kernel.functions.chains >= 1)
  }
}
