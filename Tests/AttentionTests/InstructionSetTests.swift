import Attention
import AttentionTestSupport
import Testing

#if canImport(Glibc)
  import Glibc

  /// Every strategy under every instruction set this processor runs, and under the wide table.
  ///
  /// The set is chosen once a process, so that each takes a process of its own.
  @Suite struct InstructionSetTests {
    @Test(arguments: KernelFixture.all.map(\.table.name))
    func strategiesAgreeWithTheirOracles(_ name: String) async {
      await #expect(processExitsWith: .success) { [name] in
        if let wide = KernelTable.wide, wide.name == name { KernelTable.add(wide) }
        setenv(KernelTable.environmentVariable, name, 1)
        try #require(KernelTable.active.name == name)
        for specimen in Specimen.softmaxInAnyArithmetic {
          try ExtremeScoreTests.check(specimen)
        }
        if KernelTable.active.runs(.bfloat16) {
          for length in BFloat16ArithmeticTests.lengths {
            try BFloat16ArithmeticTests().agreesWithFP64AroundTileEdges(length)
          }
        }
        for number in 200..<260 { try DifferentialTests.check(number) }
        for specimen in Specimen.all {
          for number in 300..<360 {
            let test = try TestCase(number)
            let inputs = test.inputs()
            let outputs = try specimen.run(test, inputs)
            ErrorGate.check(specimen, test.problem, inputs, outputs, "\(specimen.text): \(test)")
          }
          for (number, elements) in StorageTests.choices.enumerated() {
            try StorageTests.check(specimen, TestCase(360 + number), elements)
          }
          let problem = try AttentionProblem(
            AttentionShape(heads: 1, queryLength: 300, headDim: 8, valueDim: 11),
            visibility: Visibility(causal: true))
          let inputs = TestInputs(problem, fill: .wideLogits, seed: 1)
          let clean = try specimen.run(problem, inputs)
          for column in 0..<8 { inputs.key[0, 0, 299, column] = .nan }
          for column in 0..<11 { inputs.value[0, 0, 299, column] = .infinity }
          let poisoned = try specimen.run(problem, inputs)
          for row in 0..<299 {
            #expect(
              poisoned.output[0, 0, row].elementsEqual(clean.output[0, 0, row]),
              "\(specimen.text) row \(row)")
          }
        }
      }
    }

    @Test func anUnknownInstructionSetIsReported() async {
      await #expect(processExitsWith: .success) {
        setenv(KernelTable.environmentVariable, "mmx", 1)
        let problem = try #require(KernelTable.environmentProblem)
        #expect(problem.description.contains("ATTNBENCH_ISA = mmx"))
        #expect(problem.description.contains("portable"))
        #expect(KernelTable.active.name == KernelTable.supported[0].name)
      }
    }
  }
#endif
