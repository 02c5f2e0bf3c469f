// Cells of the ECP5 that Yosys knows as black boxes only.
//
// What a cell would do in hardware and its data sheet leaves open gives noise here. A parameter
// that is not modelled is an error of elaboration: it asks for a module that does not exist.

// Block RAM, 16,384 bits and 2,048 parity bits: two ports of 1 to 18 bits, or port A writes and
// port B reads 36.
//
// A nine-bit byte is the least that has a place of its own: words of 1, 2 and 4 bits leave its
// top bit out. In words of 18 and 36 bits ADA1, ADA0 (ADA3 to ADA0) enable bytes when writing. A
// port that reads what the other one writes in the same clock reads noise.
module DP16KD(
  input DIA17, input DIA16, input DIA15, input DIA14, input DIA13, input DIA12, input DIA11,
  input DIA10, input DIA9, input DIA8, input DIA7, input DIA6, input DIA5, input DIA4,
  input DIA3, input DIA2, input DIA1, input DIA0, input ADA13, input ADA12, input ADA11,
  input ADA10, input ADA9, input ADA8, input ADA7, input ADA6, input ADA5, input ADA4,
  input ADA3, input ADA2, input ADA1, input ADA0, input CEA, input OCEA, input CLKA, input WEA,
  input RSTA, input CSA2, input CSA1, input CSA0, output DOA17, output DOA16, output DOA15,
  output DOA14, output DOA13, output DOA12, output DOA11, output DOA10, output DOA9, output DOA8,
  output DOA7, output DOA6, output DOA5, output DOA4, output DOA3, output DOA2, output DOA1,
  output DOA0, input DIB17, input DIB16, input DIB15, input DIB14, input DIB13, input DIB12,
  input DIB11, input DIB10, input DIB9, input DIB8, input DIB7, input DIB6, input DIB5,
  input DIB4, input DIB3, input DIB2, input DIB1, input DIB0, input ADB13, input ADB12,
  input ADB11, input ADB10, input ADB9, input ADB8, input ADB7, input ADB6, input ADB5,
  input ADB4, input ADB3, input ADB2, input ADB1, input ADB0, input CEB, input OCEB, input CLKB,
  input WEB, input RSTB, input CSB2, input CSB1, input CSB0, output DOB17, output DOB16,
  output DOB15, output DOB14, output DOB13, output DOB12, output DOB11, output DOB10,
  output DOB9, output DOB8, output DOB7, output DOB6, output DOB5, output DOB4, output DOB3,
  output DOB2, output DOB1, output DOB0
);
  parameter DATA_WIDTH_A = 18;
  parameter REGMODE_A = "NOREG";
  parameter WRITEMODE_A = "NORMAL";
  parameter CSDECODE_A = "0b000";
  parameter CLKAMUX = "CLKA";
  parameter DATA_WIDTH_B = 18;
  parameter REGMODE_B = "NOREG";
  parameter WRITEMODE_B = "NORMAL";
  parameter CSDECODE_B = "0b000";
  parameter CLKBMUX = "CLKB";
  parameter RESETMODE = "SYNC";
  parameter ASYNC_RESET_RELEASE = "SYNC";
  parameter GSR = "ENABLED";
  parameter INIT_DATA = "STATIC";
  parameter [319:0] INITVAL_00 = 0;
  parameter [319:0] INITVAL_01 = 0;
  parameter [319:0] INITVAL_02 = 0;
  parameter [319:0] INITVAL_03 = 0;
  parameter [319:0] INITVAL_04 = 0;
  parameter [319:0] INITVAL_05 = 0;
  parameter [319:0] INITVAL_06 = 0;
  parameter [319:0] INITVAL_07 = 0;
  parameter [319:0] INITVAL_08 = 0;
  parameter [319:0] INITVAL_09 = 0;
  parameter [319:0] INITVAL_0A = 0;
  parameter [319:0] INITVAL_0B = 0;
  parameter [319:0] INITVAL_0C = 0;
  parameter [319:0] INITVAL_0D = 0;
  parameter [319:0] INITVAL_0E = 0;
  parameter [319:0] INITVAL_0F = 0;
  parameter [319:0] INITVAL_10 = 0;
  parameter [319:0] INITVAL_11 = 0;
  parameter [319:0] INITVAL_12 = 0;
  parameter [319:0] INITVAL_13 = 0;
  parameter [319:0] INITVAL_14 = 0;
  parameter [319:0] INITVAL_15 = 0;
  parameter [319:0] INITVAL_16 = 0;
  parameter [319:0] INITVAL_17 = 0;
  parameter [319:0] INITVAL_18 = 0;
  parameter [319:0] INITVAL_19 = 0;
  parameter [319:0] INITVAL_1A = 0;
  parameter [319:0] INITVAL_1B = 0;
  parameter [319:0] INITVAL_1C = 0;
  parameter [319:0] INITVAL_1D = 0;
  parameter [319:0] INITVAL_1E = 0;
  parameter [319:0] INITVAL_1F = 0;
  parameter [319:0] INITVAL_20 = 0;
  parameter [319:0] INITVAL_21 = 0;
  parameter [319:0] INITVAL_22 = 0;
  parameter [319:0] INITVAL_23 = 0;
  parameter [319:0] INITVAL_24 = 0;
  parameter [319:0] INITVAL_25 = 0;
  parameter [319:0] INITVAL_26 = 0;
  parameter [319:0] INITVAL_27 = 0;
  parameter [319:0] INITVAL_28 = 0;
  parameter [319:0] INITVAL_29 = 0;
  parameter [319:0] INITVAL_2A = 0;
  parameter [319:0] INITVAL_2B = 0;
  parameter [319:0] INITVAL_2C = 0;
  parameter [319:0] INITVAL_2D = 0;
  parameter [319:0] INITVAL_2E = 0;
  parameter [319:0] INITVAL_2F = 0;
  parameter [319:0] INITVAL_30 = 0;
  parameter [319:0] INITVAL_31 = 0;
  parameter [319:0] INITVAL_32 = 0;
  parameter [319:0] INITVAL_33 = 0;
  parameter [319:0] INITVAL_34 = 0;
  parameter [319:0] INITVAL_35 = 0;
  parameter [319:0] INITVAL_36 = 0;
  parameter [319:0] INITVAL_37 = 0;
  parameter [319:0] INITVAL_38 = 0;
  parameter [319:0] INITVAL_39 = 0;
  parameter [319:0] INITVAL_3A = 0;
  parameter [319:0] INITVAL_3B = 0;
  parameter [319:0] INITVAL_3C = 0;
  parameter [319:0] INITVAL_3D = 0;
  parameter [319:0] INITVAL_3E = 0;
  parameter [319:0] INITVAL_3F = 0;

  generate
    if ((CLKAMUX != "CLKA" && CLKAMUX != "INV") || (CLKBMUX != "CLKB" && CLKBMUX != "INV") ||
        CSDECODE_A != "0b000" || CSDECODE_B != "0b000" ||
        (REGMODE_A != "NOREG" && REGMODE_A != "OUTREG") ||
        (REGMODE_B != "NOREG" && REGMODE_B != "OUTREG"))
      parameter_of_DP16KD_without_model error();
  endgenerate

  // 512 rows of four bytes.
  reg [35:0] memory [0:511];
  wire [20479:0] contents = {
    INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
    INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
    INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
    INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
    INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
    INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
    INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
    INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
    INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
    INITVAL_00
  };
  integer k;
  initial begin
    // A contents parameter has 16 words of 18 bits, each in 20.
    for (k = 0; k < 512; k = k + 1)
      memory[k] = {contents[40 * k + 20 +: 18], contents[40 * k +: 18]};
  end

  // The place of a word's lowest bit in its row.
  function [5:0] place(input integer width, input [13:0] address);
    case (width)
      36: place = 0;
      18: place = 18 * address[4];
      9: place = 9 * address[4:3];
      4: place = 9 * address[4:3] + 4 * address[2];
      2: place = 9 * address[4:3] + 2 * address[2:1];
      default: place = 9 * address[4:3] + address[2:0];
    endcase
  endfunction

  function [35:0] bits(input integer width);
    bits = (36'd1 << width) - 36'd1;
  endfunction

  function [35:0] enabled(input integer width, input [3:0] bytes);
    case (width)
      36: enabled = {{9{bytes[3]}}, {9{bytes[2]}}, {9{bytes[1]}}, {9{bytes[0]}}};
      18: enabled = {18'd0, {9{bytes[1]}}, {9{bytes[0]}}};
      default: enabled = bits(width);
    endcase
  endfunction

  wire [17:0] dia = {
    DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4,
    DIA3, DIA2, DIA1, DIA0
  };
  wire [13:0] ada = {
    ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
  };
  wire [17:0] dib = {
    DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4,
    DIB3, DIB2, DIB1, DIB0
  };
  wire [13:0] adb = {
    ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
  };
  wire clka = CLKAMUX == "INV" ? ~CLKA : CLKA;
  wire cea = CEA & ~(CSA2 | CSA1 | CSA0);
  wire [5:0] at_a = place(DATA_WIDTH_A, ada);
  wire [35:0] mask_a = enabled(DATA_WIDTH_A, ada[3:0]) << at_a;
  wire [35:0] word_a = DATA_WIDTH_A == 36 ? {dib, dia} : {18'd0, dia};
  wire [35:0] new_a = word_a << at_a;
  wire [35:0] old_a = memory[ada[13:5]] >> at_a;
  wire writes_a = cea & WEA;
  wire clkb = CLKBMUX == "INV" ? ~CLKB : CLKB;
  wire ceb = CEB & ~(CSB2 | CSB1 | CSB0);
  wire [5:0] at_b = place(DATA_WIDTH_B, adb);
  wire [35:0] mask_b = enabled(DATA_WIDTH_B, adb[3:0]) << at_b;
  wire [35:0] word_b = {18'd0, dib};
  wire [35:0] new_b = word_b << at_b;
  wire [35:0] old_b = memory[adb[13:5]] >> at_b;
  wire writes_b = ceb & WEB;
  // Whether one port reads bits that the other writes.
  wire same = ada[13:5] == adb[13:5] && clka == clkb;
  wire meet_a = same && writes_b && (mask_b & (bits(DATA_WIDTH_A) << at_a)) != 0;
  wire meet_b = same && writes_a && (mask_a & (bits(DATA_WIDTH_B) << at_b)) != 0;
  reg [35:0] noise = 36'h9e3779b97;

  reg [35:0] read_a = 0, out_a = 0;
  always @(posedge clka) begin
    if (writes_a)
      memory[ada[13:5]] <= (memory[ada[13:5]] & ~mask_a) | (new_a & mask_a);
    if (RSTA)
      read_a <= 0;
    else if (cea) begin
      if (meet_a) begin
        read_a <= noise & bits(DATA_WIDTH_A);
        noise <= {noise[34:0], noise[35] ^ noise[24]};
      end else if (!WEA || WRITEMODE_A == "READBEFOREWRITE")
        read_a <= old_a & bits(DATA_WIDTH_A);
      else if (WRITEMODE_A == "WRITETHROUGH")
        read_a <= word_a & bits(DATA_WIDTH_A);
    end
    if (RSTA)
      out_a <= 0;
    else if (OCEA)
      out_a <= read_a;
  end
  wire [35:0] do_a = REGMODE_A == "OUTREG" ? out_a : read_a;
  reg [35:0] read_b = 0, out_b = 0;
  always @(posedge clkb) begin
    if (writes_b)
      memory[adb[13:5]] <= (memory[adb[13:5]] & ~mask_b) | (new_b & mask_b);
    if (RSTB)
      read_b <= 0;
    else if (ceb) begin
      if (meet_b) begin
        read_b <= noise & bits(DATA_WIDTH_B);
        noise <= {noise[34:0], noise[35] ^ noise[24]};
      end else if (!WEB || WRITEMODE_B == "READBEFOREWRITE")
        read_b <= old_b & bits(DATA_WIDTH_B);
      else if (WRITEMODE_B == "WRITETHROUGH")
        read_b <= word_b & bits(DATA_WIDTH_B);
    end
    if (RSTB)
      out_b <= 0;
    else if (OCEB)
      out_b <= read_b;
  end
  wire [35:0] do_b = REGMODE_B == "OUTREG" ? out_b : read_b;
  assign {
    DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4,
    DOB3, DOB2, DOB1, DOB0
  } = DATA_WIDTH_B == 36 ? do_b[35:18] : do_b[17:0];
  assign {
    DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4,
    DOA3, DOA2, DOA1, DOA0
  } = DATA_WIDTH_B == 36 ? do_b[17:0] : do_a[17:0];
endmodule

// Multiplier of 18x18 bits with registers at its inputs, before and behind the last adder.
//
// Each register stage has its own clock, enable and reset, chosen by name; the signs travel with
// the operands. The ports for cascades and the pre-adder are not modelled.
module MULT18X18D(
  input A17, input A16, input A15, input A14, input A13, input A12, input A11, input A10,
  input A9, input A8, input A7, input A6, input A5, input A4, input A3, input A2, input A1,
  input A0, input B17, input B16, input B15, input B14, input B13, input B12, input B11,
  input B10, input B9, input B8, input B7, input B6, input B5, input B4, input B3, input B2,
  input B1, input B0, input C17, input C16, input C15, input C14, input C13, input C12,
  input C11, input C10, input C9, input C8, input C7, input C6, input C5, input C4, input C3,
  input C2, input C1, input C0, input SIGNEDA, input SIGNEDB, input SOURCEA, input SOURCEB,
  input CLK3, input CLK2, input CLK1, input CLK0, input CE3, input CE2, input CE1, input CE0,
  input RST3, input RST2, input RST1, input RST0, input SRIA17, input SRIA16, input SRIA15,
  input SRIA14, input SRIA13, input SRIA12, input SRIA11, input SRIA10, input SRIA9, input SRIA8,
  input SRIA7, input SRIA6, input SRIA5, input SRIA4, input SRIA3, input SRIA2, input SRIA1,
  input SRIA0, input SRIB17, input SRIB16, input SRIB15, input SRIB14, input SRIB13,
  input SRIB12, input SRIB11, input SRIB10, input SRIB9, input SRIB8, input SRIB7, input SRIB6,
  input SRIB5, input SRIB4, input SRIB3, input SRIB2, input SRIB1, input SRIB0, output SROA17,
  output SROA16, output SROA15, output SROA14, output SROA13, output SROA12, output SROA11,
  output SROA10, output SROA9, output SROA8, output SROA7, output SROA6, output SROA5,
  output SROA4, output SROA3, output SROA2, output SROA1, output SROA0, output SROB17,
  output SROB16, output SROB15, output SROB14, output SROB13, output SROB12, output SROB11,
  output SROB10, output SROB9, output SROB8, output SROB7, output SROB6, output SROB5,
  output SROB4, output SROB3, output SROB2, output SROB1, output SROB0, output ROA17,
  output ROA16, output ROA15, output ROA14, output ROA13, output ROA12, output ROA11,
  output ROA10, output ROA9, output ROA8, output ROA7, output ROA6, output ROA5, output ROA4,
  output ROA3, output ROA2, output ROA1, output ROA0, output ROB17, output ROB16, output ROB15,
  output ROB14, output ROB13, output ROB12, output ROB11, output ROB10, output ROB9, output ROB8,
  output ROB7, output ROB6, output ROB5, output ROB4, output ROB3, output ROB2, output ROB1,
  output ROB0, output ROC17, output ROC16, output ROC15, output ROC14, output ROC13,
  output ROC12, output ROC11, output ROC10, output ROC9, output ROC8, output ROC7, output ROC6,
  output ROC5, output ROC4, output ROC3, output ROC2, output ROC1, output ROC0, output P35,
  output P34, output P33, output P32, output P31, output P30, output P29, output P28, output P27,
  output P26, output P25, output P24, output P23, output P22, output P21, output P20, output P19,
  output P18, output P17, output P16, output P15, output P14, output P13, output P12, output P11,
  output P10, output P9, output P8, output P7, output P6, output P5, output P4, output P3,
  output P2, output P1, output P0, output SIGNEDP
);
  parameter REG_INPUTA_CLK = "NONE";
  parameter REG_INPUTA_CE = "CE0";
  parameter REG_INPUTA_RST = "RST0";
  parameter REG_INPUTB_CLK = "NONE";
  parameter REG_INPUTB_CE = "CE0";
  parameter REG_INPUTB_RST = "RST0";
  parameter REG_INPUTC_CLK = "NONE";
  parameter REG_INPUTC_CE = "CE0";
  parameter REG_INPUTC_RST = "RST0";
  parameter REG_PIPELINE_CLK = "NONE";
  parameter REG_PIPELINE_CE = "CE0";
  parameter REG_PIPELINE_RST = "RST0";
  parameter REG_OUTPUT_CLK = "NONE";
  parameter REG_OUTPUT_CE = "CE0";
  parameter REG_OUTPUT_RST = "RST0";
  parameter CLK0_DIV = "ENABLED";
  parameter CLK1_DIV = "ENABLED";
  parameter CLK2_DIV = "ENABLED";
  parameter CLK3_DIV = "ENABLED";
  parameter HIGHSPEED_CLK = "NONE";
  parameter GSR = "ENABLED";
  parameter CAS_MATCH_REG = "FALSE";
  parameter SOURCEB_MODE = "B_SHIFT";
  parameter MULT_BYPASS = "DISABLED";
  parameter RESETMODE = "SYNC";

  localparam REGISTERED = REG_INPUTA_CLK != "NONE" || REG_INPUTB_CLK != "NONE" ||
    REG_PIPELINE_CLK != "NONE" || REG_OUTPUT_CLK != "NONE";
  generate
    if (MULT_BYPASS != "DISABLED" || HIGHSPEED_CLK != "NONE" || CAS_MATCH_REG != "FALSE" ||
        (SOURCEB_MODE != "B_SHIFT" && SOURCEB_MODE != "B_INPUT") ||
        (REGISTERED && RESETMODE != "SYNC"))
      parameter_of_MULT18X18D_without_model error();
  endgenerate

  wire [17:0] a = {
    A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
  };
  wire [17:0] b = {
    B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
  };
  // SOURCEA and SOURCEB choose the cascade: what comes from there is noise here.
  wire [18:0] from_a = {SIGNEDA, SOURCEA ? 18'h2a5c3 : a};
  wire [18:0] from_b = {SIGNEDB, SOURCEB ? 18'h15e69 : b};
  wire [3:0] clocks = {CLK3, CLK2, CLK1, CLK0};
  wire [3:0] enables = {CE3, CE2, CE1, CE0};
  wire [3:0] resets = {RST3, RST2, RST1, RST0};
  wire [18:0] at_a, at_b;
  wire [36:0] sum, last;

  MULT18X18D_stage #(.WIDTH(19), .CLK(REG_INPUTA_CLK), .CE(REG_INPUTA_CE), .RST(REG_INPUTA_RST))
    input_a(.clocks(clocks), .enables(enables), .resets(resets), .d(from_a), .q(at_a));
  MULT18X18D_stage #(.WIDTH(19), .CLK(REG_INPUTB_CLK), .CE(REG_INPUTB_CE), .RST(REG_INPUTB_RST))
    input_b(.clocks(clocks), .enables(enables), .resets(resets), .d(from_b), .q(at_b));
  wire signed [18:0] value_a = {at_a[18] & at_a[17], at_a[17:0]};
  wire signed [18:0] value_b = {at_b[18] & at_b[17], at_b[17:0]};
  wire signed [37:0] product = value_a * value_b;
  wire [36:0] signed_product = {at_a[18] | at_b[18], product[35:0]};
  MULT18X18D_stage #(
    .WIDTH(37), .CLK(REG_PIPELINE_CLK), .CE(REG_PIPELINE_CE), .RST(REG_PIPELINE_RST))
    pipeline(.clocks(clocks), .enables(enables), .resets(resets), .d(signed_product), .q(sum));
  MULT18X18D_stage #(
    .WIDTH(37), .CLK(REG_OUTPUT_CLK), .CE(REG_OUTPUT_CE), .RST(REG_OUTPUT_RST))
    result(.clocks(clocks), .enables(enables), .resets(resets), .d(sum), .q(last));

  assign SIGNEDP = last[36];
  assign {
    P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
  } = last[35:0];
endmodule

// A register of MULT18X18D, or a wire where its clock is NONE.
module MULT18X18D_stage(
  input [3:0] clocks, input [3:0] enables, input [3:0] resets,
  input [WIDTH-1:0] d, output [WIDTH-1:0] q
);
  parameter WIDTH = 1;
  parameter CLK = "NONE";
  parameter CE = "CE0";
  parameter RST = "RST0";

  generate
    if (CLK == "NONE")
      assign q = d;
    else begin : register
      localparam NUMBER_CLK = CLK == "CLK3" ? 3 : CLK == "CLK2" ? 2 : CLK == "CLK1" ? 1 : 0;
      localparam NUMBER_CE = CE == "CE3" ? 3 : CE == "CE2" ? 2 : CE == "CE1" ? 1 : 0;
      localparam NUMBER_RST = RST == "RST3" ? 3 : RST == "RST2" ? 2 : RST == "RST1" ? 1 : 0;
      wire clk = clocks[NUMBER_CLK];
      reg [WIDTH-1:0] value = 0;
      always @(posedge clk)
        if (resets[NUMBER_RST])
          value <= 0;
        else if (enables[NUMBER_CE])
          value <= d;
      assign q = value;
    end
  endgenerate
endmodule
